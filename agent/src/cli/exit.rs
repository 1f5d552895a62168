//! How the program ends: one table, from which the code, `--help`, the man pages and the tests are made.

use crate::codes;
use crate::failure::Failure;

replank_cli::exits! {
    Done 0 "done"
    Unexpected 1 "something unexpected; the message says what"
    Usage 2 "the command line cannot be understood"
    BadFile 3 "agent.toml, a drop-in beside it or policy.toml cannot be used"
    Identity 4 "this host is not enrolled, is enrolled already, or its identity cannot be used"
    Refused 5 "the coordinator refused, or is not this fleet's"
    Unreachable 6 "the coordinator cannot be reached"
    Disagreement 7 "the four sources of the census do not agree, or one of them is silent"
    Ledger 8 "the ledger cannot be used"
    NotRoot 9 "it does not run as root"
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::File(_) | Failure::NoCoordinator { .. } => Self::BadFile,
            Failure::Link(error) => match error.code {
                codes::UNREACHABLE => Self::Unreachable,
                codes::TOKEN_MALFORMED => Self::Usage,
                codes::NOT_ENROLLED | codes::ALREADY_ENROLLED | codes::IDENTITY_FILES => Self::Identity,
                codes::LEDGER => Self::Ledger,
                _ => Self::Refused,
            },
            Failure::Ledger(_) => Self::Ledger,
            Failure::NotRoot { .. } => Self::NotRoot,
            Failure::Disagreement => Self::Disagreement,
            Failure::Write(_) | Failure::Page(_) | Failure::Output(_) | Failure::System { .. } => {
                Self::Unexpected
            }
        }
    }
}
