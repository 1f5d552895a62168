//! What is swept, as data: the cases, and for each kind of action what it is tried with, what shows that it was done, and what stands in its way.
//!
//! Every cell of the table exists. An action that changes nothing (a trial, an anchor) still has an intent, an act and an outcome, both ways.

use replank_common::action::Action;
use replank_common::outcome::How;

/// What is done to one kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// Something stands in the way: it is answered with no, and the world is as it was.
    FailBefore,
    /// The agent dies when the intent is durable and nothing is done.
    CrashBeforeAct,
    /// It dies when all is done and the outcome is not in the ledger.
    CrashAfterAct,
    /// It dies when the outcome is in the ledger and nobody was told.
    CrashAfterLedger,
    /// Asked again under the same id, and tried again under another one.
    DoTwice,
    UndoTwice,
}

impl Case {
    pub const ALL: [Self; 6] = [
        Self::FailBefore,
        Self::DoTwice,
        Self::UndoTwice,
        Self::CrashBeforeAct,
        Self::CrashAfterAct,
        Self::CrashAfterLedger,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailBefore => "fail before",
            Self::CrashBeforeAct => "crash before act",
            Self::CrashAfterAct => "crash after act",
            Self::CrashAfterLedger => "crash after ledger",
            Self::DoTwice => "do twice",
            Self::UndoTwice => "undo twice",
        }
    }
}

/// One kind of action, on one host.
#[derive(Debug, Clone)]
pub struct Row {
    /// The kind, and what tells two rows of one kind apart.
    pub name: String,
    pub action: Action,
    /// What must have been done before, by the agent too.
    pub needs: Option<Action>,
    /// What the owner of the host does before each try, so that there is something to do.
    pub ready: &'static str,
    /// What the owner does between the way there and the way back, so that there is something to take back.
    pub meanwhile: &'static str,
    pub shows: Shows,
    /// How a later attempt finds a world in which all is done.
    pub again: How,
    /// How a later undo finds a world in which all is taken back.
    pub undone_again: How,
    pub traces: Option<Traces>,
    /// Who is another process after it, by the names of [`super::Sight::lives`].
    pub restarts: Vec<String>,
    pub obstacles: Vec<Obstacle>,
}

/// What tells that the action was done, without asking the agent: a script that succeeds then, and only then.
#[derive(Debug, Clone)]
pub enum Shows {
    OnHost(String),
    /// What its undo leaves: in the agent's own directory, or for good.
    Lasting(String),
    /// Why there is nothing to be seen.
    Nothing(&'static str),
}

/// What the host's own logs count: how often something was really done.
#[derive(Debug, Clone, Copy)]
pub struct Traces {
    /// Prints a number.
    pub count: &'static str,
    /// More of it after the way there.
    pub there: usize,
    /// And after the way back.
    pub back: usize,
}

/// What stands in the way.
#[derive(Debug, Clone)]
pub struct Obstacle {
    pub what: &'static str,
    pub plant: &'static str,
    pub remove: &'static str,
    /// Commanded in place of the row's own action.
    pub instead: Option<Action>,
    /// The code of the answer.
    pub code: &'static str,
}

/// A row of which nothing is special but these.
pub fn plain(action: &Action, shows: Shows, obstacles: Vec<Obstacle>) -> Row {
    Row {
        name: action.kind().to_owned(),
        action: action.clone(),
        needs: None,
        ready: "",
        meanwhile: "",
        shows,
        again: How::FoundDone,
        undone_again: How::NothingToUndo,
        traces: None,
        restarts: Vec::new(),
        obstacles,
    }
}

pub fn obstacle(
    what: &'static str,
    plant: &'static str,
    remove: &'static str,
    code: &'static str,
) -> Obstacle {
    Obstacle { what, plant, remove, instead: None, code }
}

/// Every kind of action that there is, from the one place that knows them all: what its reader says that it expects.
pub fn every_kind() -> Vec<String> {
    let error = serde_json::from_str::<Action>(r#"{"no-such-kind": {}}"#).err();
    let said = error.map(|error| error.to_string()).unwrap_or_default();
    let expected = said.split_once("expected one of").map(|(_, kinds)| kinds).unwrap_or_default();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
