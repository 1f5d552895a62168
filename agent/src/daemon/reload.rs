//! Taking over what changed on disk, without a restart.
//!
//! | changed | what happens |
//! | --- | --- |
//! | the policy | judges from the next command on; one that cannot be read is refused, and the old one stays |
//! | the identity | in service from the next dialling on; one of another host or fleet is refused, and the old one stays |
//! | the configuration | named in the log: it is taken over by a restart |

use super::Assembly;
use crate::config::{self, Config};
use crate::perform::Performer;
use crate::policy::Policy;

/// Reads everything again. Whether the coordinator has to be told, by a new link.
pub(super) fn all(assembly: &Assembly, performer: &Performer) -> bool {
    let said = policy(assembly, performer);
    let identity = identity(assembly);
    configuration(assembly);
    said || identity
}

fn policy(assembly: &Assembly, performer: &Performer) -> bool {
    match Policy::load(&assembly.config.policy) {
        Ok(new) => {
            let old = performer.policy();
            if new == *old {
                tracing::info!("the policy was read again and is the same");
                return false;
            }
            let differs = new.observe_only != old.observe_only;
            tracing::info!(observe_only = new.observe_only, "the new policy counts from the next command on");
            performer.set_policy(new);
            differs
        }
        Err(error) => {
            tracing::error!(code = error.code, "the old policy stays: {error}");
            false
        }
    }
}

fn identity(assembly: &Assembly) -> bool {
    let before = assembly.credentials.current().identity().serial;
    match assembly.identity.reload(&assembly.credentials) {
        Ok(new) if new.identity().serial == before => false,
        Ok(new) => {
            tracing::info!(until = %new.identity().validity.not_after, "another certificate of this host is in service");
            true
        }
        Err(error) => {
            tracing::error!(code = error.code, "the old identity stays: {}", error.text);
            false
        }
    }
}

fn configuration(assembly: &Assembly) {
    let path = assembly.config.directory.join(config::FILE);
    match Config::load(&path) {
        Ok(new) if new == assembly.config => {}
        Ok(_) => tracing::warn!("the configuration has changed; restart replank-agent to take it over"),
        Err(error) => tracing::error!(code = error.code, "the next start would fail: {error}"),
    }
}
