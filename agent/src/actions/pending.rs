//! Kinds whose rooms are being built: refused until they are there.

use super::answer::refusal;
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use replank_common::action::{TreeInstall, TreeRetain, TreeTrial};
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;

macro_rules! pending {
    ($($kind:ty),*) => { $(
        impl Perform for $kind {
            fn check(&self, _: &Host) -> Result<Standing, Refusal> {
                Err(refusal("RP5102", "this agent cannot do it yet", "install a newer agent"))
            }
            fn prepare(&self, _: &Host) -> Result<UndoRecord, Refusal> {
                Err(refusal("RP5102", "this agent cannot do it yet", "install a newer agent"))
            }
            fn apply(&self, _: &Host, _: &UndoRecord, _: Progress<'_>) -> Result<Report, ActError> {
                Err(refusal("RP5102", "this agent cannot do it yet", "install a newer agent").into())
            }
            fn verify(&self, _: &Host, _: &UndoRecord) -> Result<(), Failure> {
                Ok(())
            }
            fn undo(&self, _: &Host, _: &UndoRecord, _: Progress<'_>) -> Result<Report, ActError> {
                Err(refusal("RP5102", "this agent cannot do it yet", "install a newer agent").into())
            }
        }
    )* };
}

pending!(TreeInstall, TreeTrial, TreeRetain);
