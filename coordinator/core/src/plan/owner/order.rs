//! The order of a change of owner: who comes when, and where an operator is asked.
//!
//! | phase | what | waits for |
//! | --- | --- | --- |
//! | canary | the first daemon of the first host, whole | the hold `before-canary` |
//! | ahead | what can be done while OSDs run, host by host | the hold `after-first-daemon`; at most `staging_parallel` hosts at a time |
//! | switch | one daemon at a time over the whole cluster: MONs of a host, its others, its OSDs | the daemon before it, clean again |
//! | the row | `setuser match path` leaves the host's `ceph.conf` | every daemon of the host |
//!
//! No flag of the cluster is borrowed: a plan over many hosts takes days, and `noout` for days is more dangerous than one OSD whose data begins to move because it does
//! not come back.

use super::plot::{Owned, Plot, hosts, matched_sections};
use crate::catalog::{Catalog, Time};
use crate::gate::Gate;
use crate::plan::mds;
use crate::plan::model::{Hold, Need, Stage, Undo, Work};
use crate::plan::strand::{Draft, Strands, Takes};
use replank_common::action::{Action, CephOwn, Dialect, FileEdit, OwnSwitch, Setting};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::ids::{HoldId, HostName, StepId};
use std::collections::BTreeMap;
use std::path::PathBuf;

const BEFORE_CANARY: &str = "before-canary";
const AFTER_FIRST_DAEMON: &str = "after-first-daemon";
const AFTER_FIRST_OSD: &str = "after-first-osd";
const CEPH_CONF: &str = "/etc/ceph/ceph.conf";
/// As the voyages have it (v12.2.4 systemd/ceph-osd@.service).
const STOP_MS: u64 = 120_000;
const START_MS: u64 = 300_000;
/// How long groups take to be clean after one OSD was away for some minutes.
const SETTLES_MS: u64 = 60_000;
/// Files a second of a disk that has nothing else to do: 1.2 TB in 10 min, as the times of the catalog have it, in objects of 4 MB.
const IDLE_FILES_PER_SECOND: u64 = 500;
/// Whatever is no filestore has some dozens of files.
const FEW_FILES_MS: u64 = 1_000;

pub(super) struct Ordered<'a> {
    pub(super) strands: Strands<'a>,
    pub(super) holds: Vec<Hold>,
    /// Hosts in the order in which they are first changed.
    pub(super) passed: Vec<HostName>,
}

struct Builder<'p, 'a> {
    plot: &'p Plot<'a>,
    catalog: &'p Catalog,
    ordered: Ordered<'a>,
    /// The hold behind which the next thing lies, and the daemon that was switched last.
    hold: Option<Need>,
    switched: Option<Need>,
    /// The end of each host's part that is done ahead, in order.
    ahead_ends: Vec<Need>,
}

pub(super) fn build<'a>(plot: &Plot<'a>, catalog: &Catalog) -> Ordered<'a> {
    let strands = plot.strands();
    let ordered = Ordered { strands, holds: Vec::new(), passed: Vec::new() };
    let mut builder = Builder { plot, catalog, ordered, hold: None, switched: None, ahead_ends: Vec::new() };
    if plot.foreign().next().is_some() {
        builder.begin();
    }
    for host in hosts(plot.fleet) {
        let own: Vec<&Owned<'_>> = plot.foreign().filter(|owned| owned.host.name == host.name).collect();
        builder.host(&host.name, &own);
    }
    builder.ordered
}

fn word(daemon: &CephDaemon) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    daemon.to_string().to_lowercase().chars().map(plain).collect()
}

impl<'a> Builder<'_, 'a> {
    fn begin(&mut self) {
        let via = self.plot.via.clone();
        let mons = self.plot.cluster.quorum.mons.keys().cloned().collect();
        let title = "see that every MON is in quorum";
        let mut look = Draft::new("look-at-mons", Stage::Keep, title, Work::Observe, Undo::Nothing);
        look.after = vec![Gate::MonsInQuorum { mons, via: via.clone() }];
        let seen = self.push(&via, look, &self.time("observe"));
        let first =
            self.plot.foreign().next().map_or_else(String::new, |owned| owned.fact.daemon.to_string());
        let why = "nothing has been changed yet. The first daemon is stopped, its files change their owner, and it starts as the user ceph; whatever goes wrong with it, it is started as root again";
        self.hold(BEFORE_CANARY, format!("change the owner of {first}"), why, vec![Need::Step(seen)]);
    }

    fn host(&mut self, host: &HostName, own: &[&Owned<'a>]) {
        let (first, rest) = match own.split_first() {
            Some((first, rest)) if self.switched.is_none() => (Some(*first), rest),
            Some(_) | None => (None, own),
        };
        if let Some(first) = first {
            self.ahead(host, first, &[]);
            self.switch(host, first);
            let more = self.plot.foreign().count() > 1;
            if more {
                let why = "the first daemon runs as the user ceph: look at its log, at the latency of clients while its files were walked, and at the recovery. The others follow, one at a time";
                self.hold_here(AFTER_FIRST_DAEMON, format!("go on after {}", first.fact.daemon), why);
            }
        }
        let osds = rest.iter().filter(|owned| owned.fact.daemon.kind == CephKind::Osd).count();
        let lanes = self.plot.fleet.pace.staging_parallel as usize;
        let before = self.ahead_ends.len().checked_sub(lanes).and_then(|at| self.ahead_ends.get(at)).cloned();
        for owned in rest {
            self.ahead(host, owned, before.as_slice());
        }
        if osds > 0 {
            self.ahead_ends.extend(self.ordered.strands.last_of(host));
        }
        for owned in rest {
            self.first_osd(owned);
            self.switch(host, owned);
        }
        self.end(host, own);
    }

    /// The first OSD is judged too, where a daemon of another kind was first.
    fn first_osd(&mut self, next: &Owned<'_>) {
        let osd = |owned: &&Owned<'_>| owned.fact.daemon.kind == CephKind::Osd;
        let mut osds = self.plot.foreign().filter(osd);
        let (first, second) = (osds.next(), osds.next());
        let canary = self.plot.foreign().next().is_some_and(|owned| owned.fact.daemon.kind == CephKind::Osd);
        if let (false, Some(first), Some(second)) = (canary, first, second)
            && second.fact.daemon == next.fact.daemon
        {
            let why = "the first OSD runs as the user ceph and its placement groups are clean: look at its log, at the latency of clients, and at how long it was down. The other OSDs follow without another question";
            self.hold_here(AFTER_FIRST_OSD, format!("go on after {}", first.fact.daemon), why);
        }
    }

    /// Of OSDs alone: what others have is looked through in a second.
    fn ahead(&mut self, host: &HostName, owned: &Owned<'_>, needs: &[Need]) {
        let Some(action) = self.action(owned, None) else { return };
        if owned.fact.daemon.kind != CephKind::Osd {
            return;
        }
        let what = format!("own-ahead-{}", word(&owned.fact.daemon));
        let title = format!("give the files of {} to the user ceph while it runs, gently", owned.fact.daemon);
        let mut draft = Draft::act(what, Stage::Switch, title, action, Undo::Record).needs(needs);
        draft.needs.extend(self.hold.clone());
        // Whose they are is seen before the first one changes its owner.
        let time = self.passing(2 * self.pass_ms(owned), 0);
        self.push(host, draft, &time);
    }

    /// How long one look at every file of a daemon that runs takes. Milliseconds.
    fn pass_ms(&self, Owned { fact, .. }: &Owned<'_>) -> u64 {
        if fact.object_store.as_deref() != Some("filestore") {
            return FEW_FILES_MS;
        }
        let Some(files) = fact.files else { return self.time("ceph-own").expected_ms / 2 };
        let rate = match u64::from(self.plot.goal.files_per_second) {
            0 => IDLE_FILES_PER_SECOND,
            bound => bound.min(IDLE_FILES_PER_SECOND),
        };
        FEW_FILES_MS.max(files.saturating_mul(1_000) / rate)
    }

    /// The time of passes, and of what there is beside them.
    fn passing(&self, passes_ms: u64, beside_ms: u64) -> Time {
        let own = self.time("ceph-own");
        let deadline_ms = own.deadline_ms.max(passes_ms.saturating_mul(3));
        Time { expected_ms: passes_ms.saturating_add(beside_ms), deadline_ms, ..own }
    }

    fn switch(&mut self, host: &HostName, owned: &Owned<'_>) {
        let daemon = &owned.fact.daemon;
        let Some(expect) = owned.fact.running.clone() else { return };
        let consents: Vec<String> = self.plot.goal.consent.iter().cloned().collect();
        let switch = OwnSwitch {
            expect: expect.clone(),
            consents: consents.clone(),
            stop_ms: STOP_MS,
            down_ms: u64::from(self.plot.goal.down_seconds) * 1_000,
            start_ms: START_MS,
        };
        let Some(action) = self.action(owned, Some(switch)) else { return };
        let via = self.plot.via.clone();
        let may_stop =
            |osds, mons| Gate::OsdsMayStop { osds, mons, consents: consents.clone(), via: via.clone() };
        let mut after = vec![Gate::CephDaemonsAre { daemons: vec![daemon.clone()], version: expect.clone() }];
        let mut before = Vec::new();
        match daemon.kind {
            CephKind::Osd => {
                let osds: Vec<u32> = daemon.osd_number().into_iter().collect();
                before.push(may_stop(osds.clone(), Vec::new()));
                after.push(Gate::OsdsSettled { osds, version: expect, via: via.clone() });
            }
            CephKind::Mon => {
                before.push(may_stop(Vec::new(), vec![daemon.id.clone()]));
                let mons = self.plot.cluster.quorum.mons.keys().cloned().collect();
                after.push(Gate::MonsInQuorum { mons, via: via.clone() });
            }
            CephKind::Mds => {
                let (own, running) = (vec![daemon.id.clone()], self.plot.running_mds());
                let (may, back) = mds::gates(self.plot.cluster, running, own, &via);
                before.push(may);
                after.push(back);
            }
            CephKind::Mgr | CephKind::Rgw => {}
        }
        // Twice while it runs, as ahead, and once while it is down, with nobody before it at the disk and every name in memory.
        let pass_ms = self.pass_ms(owned);
        let down_ms = pass_ms.min(u64::from(self.plot.goal.down_seconds) * 1_000) / 2;
        let beside_ms = self.time("ceph-restart").expected_ms + SETTLES_MS + down_ms;
        let time = self.passing(2 * pass_ms, beside_ms);
        let title = format!(
            "stop {daemon}, give it what it made meanwhile and its directory, and start it as the user ceph"
        );
        let what = format!("own-{}", word(daemon));
        let mut draft = Draft::act(what, Stage::Switch, title, action, Undo::Record);
        (draft.before, draft.after) = (before, after);
        draft.needs.extend(self.hold.iter().chain(&self.switched).cloned());
        let step = self.push(host, draft, &time);
        self.switched = Some(Need::Step(step));
    }

    fn action(&self, owned: &Owned<'_>, switch: Option<OwnSwitch>) -> Option<Action> {
        let user = owned.user()?;
        Some(Action::CephOwn(CephOwn {
            daemon: owned.fact.daemon.clone(),
            uid: user.uid,
            gid: user.gid,
            files_per_second: self.plot.goal.files_per_second,
            switch,
        }))
    }

    /// What had daemons start as root is of no use any more, and keeps new OSDs from being made.
    fn end(&mut self, host: &HostName, own: &[&Owned<'_>]) {
        let Some(ceph) = self.plot.facts(host).and_then(|facts| facts.ceph.as_ref()) else { return };
        let unset = |section: &str| Setting {
            section: Some(section.to_owned()),
            key: "setuser match path".to_owned(),
            values: Vec::new(),
        };
        let settings: Vec<Setting> = matched_sections(ceph).map(unset).collect();
        if !settings.is_empty() {
            let edit =
                FileEdit { path: PathBuf::from(CEPH_CONF), dialect: Dialect::Ceph, settings, create: false };
            let title =
                "take `setuser match path` out of ceph.conf: every daemon of the host is the user ceph's";
            let action = Action::FileEdit(edit);
            let draft = Draft::act("drop-setuser-match-path", Stage::Verify, title, action, Undo::Record);
            self.push(host, draft, &self.time("file-edit"));
        }
        let mut by_version: BTreeMap<String, Vec<CephDaemon>> = BTreeMap::new();
        for owned in own {
            if let Some(running) = &owned.fact.running {
                by_version.entry(running.to_string()).or_default().push(owned.fact.daemon.clone());
            }
        }
        if by_version.is_empty() {
            return;
        }
        let gate = |(version, daemons): (String, Vec<CephDaemon>)| Gate::CephDaemonsAre {
            daemons,
            version: replank_common::version::Version::new(version),
        };
        let title = "see that every daemon of the host runs what it ran, by its process";
        let mut draft = Draft::new("verify", Stage::Verify, title, Work::Observe, Undo::Nothing);
        draft.after = by_version.into_iter().map(gate).collect();
        self.push(host, draft, &self.time("observe"));
    }

    fn hold_here(&mut self, id: &str, title: String, why: &str) {
        let needs = self.switched.iter().cloned().collect();
        self.hold(id, title, why, needs);
    }

    fn hold(&mut self, id: &str, title: String, why: &str, needs: Vec<Need>) {
        let id = HoldId::new(id).expect("lower-case letters and hyphens make a hold id");
        self.ordered.holds.push(Hold { id: id.clone(), title, why: why.to_owned(), needs });
        self.hold = Some(Need::Hold(id));
    }

    fn time(&self, kind: &str) -> Time {
        self.catalog.times.get(kind).cloned().expect("a loaded catalog has a time for every kind of work")
    }

    fn push(&mut self, host: &HostName, draft: Draft, time: &Time) -> StepId {
        if !self.ordered.passed.contains(host) {
            self.ordered.passed.push(host.clone());
        }
        let percent = u64::from(self.plot.fleet.pace.deadline_percent);
        let guests = u64::from(self.ordered.strands.guests(host));
        let (expected_ms, deadline_ms) = time.of(guests, draft.work.packages(), percent);
        self.ordered.strands.push(host, draft, Takes { expected_ms, deadline_ms })
    }
}
