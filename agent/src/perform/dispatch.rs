//! From an action to the code that performs it. Exhaustive: a new kind does not compile until it is here.

use crate::actions::Perform;
use replank_common::action::Action;

pub(super) fn performs(action: &Action) -> &dyn Perform {
    match action {
        Action::RepositoryPin(action) => action,
        Action::PackagesStage(action) => action,
        Action::PackagesInstall(action) => action,
        Action::TreeInstall(action) => action,
        Action::TreeTrial(action) => action,
        Action::TreeRetain(action) => action,
        Action::FileEdit(action) => action,
        Action::FileWrite(action) => action,
        Action::UnitMask(action) => action,
        Action::UnitEnable(action) => action,
        Action::UnitDropIn(action) => action,
        Action::LibvirtTrial(action) => action,
        Action::LibvirtAnchor(action) => action,
        Action::LibvirtRestart(action) => action,
        Action::CephFlags(action) => action,
        Action::CephConfig(action) => action,
        Action::CephRestart(action) => action,
        Action::CephRequire(action) => action,
        Action::CephOwn(action) => action,
    }
}
