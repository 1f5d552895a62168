//! Daemons held still for the length of a Debian transaction.
//!
//! `invoke-rc.d` and `deb-systemd-invoke`, through which Debian's maintainer scripts start, stop and restart, first ask
//! `/usr/sbin/policy-rc.d` and leave it at that when it answers 101 (invoke-rc.d(8)). It is asked once a command and about its first unit
//! only, so a policy that lets single units through would decide wrongly: this one refuses all. Scripts that call `systemctl` themselves
//! are the guard's business. RPM has no such question; there a transaction runs no scripts at all.

use super::answer::file_failure;
use super::{ActError, Failure};
use crate::host::Host;
use crate::host::files::{self, Attributes, FileError, Side};
use replank_common::facts::PackageManager;
use replank_common::planted::{self, Planted};
use replank_common::undo::FileChange;
use std::path::Path;

const POLICY: &str = "/usr/sbin/policy-rc.d";
/// 101: "action forbidden by policy" (invoke-rc.d's interface, /usr/share/doc/init-system-helpers/README.policy-rc.d).
const REFUSE_ALL: &str =
    "#!/bin/sh\n# replank: no daemon is touched while packages change; gone when they have.\nexit 101\n";

/// The record of holding: what is at the policy's place now. `earlier` is that of an interrupted try; it stands, unless somebody put
/// another policy there since.
///
/// # Errors
/// It cannot be looked at.
pub(super) fn record(
    host: &Host,
    manager: PackageManager,
    earlier: Option<FileChange>,
) -> Result<Option<FileChange>, FileError> {
    match manager {
        PackageManager::Dnf | PackageManager::Yum => return Ok(None),
        PackageManager::Apt => {}
    }
    if let Some(change) = earlier {
        match files::standing(host, &change)? {
            Side::Before | Side::After => return Ok(Some(change)),
            Side::Foreign(_) => {}
        }
    }
    let digest = files::digest_of_bytes(REFUSE_ALL.as_bytes());
    files::change_of(host, Path::new(POLICY), Some(digest)).map(Some)
}

/// Does `work` while daemons are held, and lets go whatever came of it.
///
/// # Errors
/// Those of `work`; `Failure` when the policy cannot be put in place or given back.
pub(super) fn held<T>(
    host: &Host,
    policy: Option<&FileChange>,
    work: impl FnOnce() -> Result<T, ActError>,
) -> Result<T, ActError> {
    let Some(policy) = policy else { return work() };
    if let Err(error) = hold(host) {
        let_go(host, policy)?;
        return Err(file_failure(&error).into());
    }
    host.boundary.reached("packages: daemons held");
    let result = work();
    let released = if planted::is(Planted::DaemonsStayHeld) { Ok(()) } else { let_go(host, policy) };
    host.boundary.reached("packages: daemons let go");
    match (result, released) {
        (Ok(value), Ok(())) => Ok(value),
        (Err(error), _) => Err(error),
        (Ok(_), Err(failure)) => Err(failure.into()),
    }
}

fn hold(host: &Host) -> Result<(), FileError> {
    let here = host.at(POLICY);
    files::make_directories(&here, &host.boundary)?;
    files::replace(&here, REFUSE_ALL.as_bytes(), &Attributes::plain(0o755), &host.boundary)
}

/// A policy that somebody else put there meanwhile stays.
fn let_go(host: &Host, policy: &FileChange) -> Result<(), Failure> {
    files::give_back(host, std::slice::from_ref(policy)).map(|_| ()).map_err(|e| file_failure(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::answer::refusal;
    use crate::actions::testing::World;

    #[test]
    fn the_operators_policy_is_set_aside_and_given_back() {
        for theirs in [None, Some("#!/bin/sh\nexit 0\n")] {
            let world = World::new();
            world.file("/usr/sbin/keep", "");
            if let Some(text) = theirs {
                world.file(POLICY, text);
            }
            let before = world.snapshot();
            let host = &world.host;
            let policy = record(host, PackageManager::Apt, None).unwrap();
            let answer = held(host, policy.as_ref(), || {
                let answer = std::process::Command::new(host.at(POLICY)).status().unwrap();
                Ok(answer.code())
            });
            assert_eq!(answer.unwrap(), Some(101));
            assert_eq!(world.snapshot(), before);
            let said = held(host, policy.as_ref(), || Err::<(), _>(refusal("RP5112", "no", "-").into()));
            assert!(matches!(said, Err(ActError::Refused(_))));
            assert_eq!(world.snapshot(), before, "given back when the work failed too");
            // A crash while held: the record of the first time is the one that counts.
            hold(host).unwrap();
            let again = record(host, PackageManager::Apt, policy.clone()).unwrap();
            assert_eq!(again, policy);
            held(host, again.as_ref(), || Ok(())).unwrap();
            assert_eq!(world.snapshot(), before);
        }
    }
}
