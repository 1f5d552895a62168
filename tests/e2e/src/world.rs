//! A host as it is, for comparing before and after: every file, package, unit and mask.

use anyhow::Result;
use replank_lab::Host;
use std::collections::BTreeMap;
use std::fmt;

/// What is compared, one line a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    things: BTreeMap<String, String>,
}

/// Where configuration, programs and units live. Left out is what the system itself rewrites: the loader's cache is compared by content, `/etc/mtab` and
/// `/etc/resolv.conf` belong to the container, and `/usr/share/mime`-like caches are rebuilt by triggers byte for byte.
const SCRIPT: &str = r#"
set -eu
cd /
# A file of the same inode, time of change and size has the bytes that an earlier look hashed.
seen=/root/.world; new=$(mktemp -d); touch $seen
find etc opt usr -xdev \( -path etc/replank -o -path etc/mtab -o -path etc/resolv.conf \) -prune -o -type f -printf '%i %C@ %s %p\n' >$new/all
awk -F '\t' -v seen=$seen -v known=$new/known -v unknown=$new/unknown \
    'FILENAME == seen { sum[$1] = $2; next } $0 in sum { print $0 "\t" sum[$0] >known; next } { print >unknown }' $seen $new/all
touch $new/known $new/unknown
cut -d ' ' -f 4- $new/unknown | xargs -r -d '\n' sha256sum | cut -d ' ' -f 1 | paste $new/unknown - >>$new/known
sort $new/known >$seen
rm -r $new
sed 's/^[^ ]* [^ ]* [^ ]* /file /' $seen
find etc opt usr run/systemd/system -xdev -path etc/replank -prune -o -type l -printf 'link %p\t%l\n' \
    -o -path 'run/*' -o -type f -printf 'mode %p\t%m %U:%G\n' -o -type d -printf 'dir %p\t%m %U:%G\n'
dpkg-query -W -f 'deb ${Package}:${Architecture}\t${Version} ${db:Status-Abbrev}\n'
apt-mark showauto | sed 's/^/auto /; s/$/\tyes/'
rpm -qa --qf 'rpm %{NAME}\t%{VERSION}-%{RELEASE}\n' 2>/dev/null || :
# What the state of any other unit comes from, files and links, is above; to ask for all of them takes systemd most of a second.
systemctl list-unit-files --no-legend --no-pager '*virt*' | awk '{print "unitfile " $1 "\t" $2}'
set -- libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd-tcp.socket libvirtd-tls.socket \
       virtlogd.service virtlogd.socket virtlockd.service virtlockd.socket libvirt-guests.service
for u in $(systemctl is-active "$@" || :); do printf 'active %s\t%s\n' "$1" "$u"; shift; done
virsh list --all --name | sed '/^$/d; s/^/domain /; s/$/\tknown/'
"#;

/// The difference of two worlds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldDiff(pub Vec<String>);

impl World {
    /// Looks at a host.
    ///
    /// # Errors
    /// A command failed.
    pub fn of(host: &Host) -> Result<Self> {
        Ok(Self { things: BTreeMap::new() }.with(&host.sh(SCRIPT)?))
    }

    /// With more things to compare, a line each: `THING<tab>VALUE`.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Self {
        for line in lines.lines() {
            let (thing, value) = line.split_once('\t').unwrap_or((line, ""));
            self.things.insert(thing.to_owned(), value.to_owned());
        }
        self
    }

    /// What is otherwise in `later`, leaving out the things whose name begins with one of `but`.
    pub fn differs_from(&self, later: &World, but: &[&str]) -> WorldDiff {
        let mut lines = Vec::new();
        let names: std::collections::BTreeSet<&String> =
            self.things.keys().chain(later.things.keys()).collect();
        for name in names {
            if but.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            match (self.things.get(name), later.things.get(name)) {
                (Some(before), Some(after)) if before == after => {}
                (before, after) => lines.push(format!(
                    "{name}: {} → {}",
                    before.map_or("absent", String::as_str),
                    after.map_or("absent", String::as_str)
                )),
            }
        }
        WorldDiff(lines)
    }
}

impl WorldDiff {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for WorldDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
