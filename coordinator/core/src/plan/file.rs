//! The plan file: `{"id": "sha256:…", "plan": {…}}`, pretty JSON. The id is the SHA-256 of the plan's canonical bytes, and the
//! file's bytes are a function of the plan, so that a change of any byte shows.

use super::model::{PLAN_FORMAT, Plan};
use super::pieces::Proof;
use crate::{codes, digest};
use replank_common::ids::PlanId;
use serde::{Deserialize, Serialize};

/// A plan file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanFileError {
    #[error(
        "{}: the plan file is not in its JSON form: {why}; make it again with `replank plan`",
        codes::PLAN_FORM
    )]
    Form { why: String },
    #[error(
        "{}: the plan has format {found}, this replank reads up to {PLAN_FORMAT}; use the replank that made it",
        codes::PLAN_NEWER
    )]
    Newer { found: u32 },
    #[error(
        "{}: the plan file says it is {written} but holds {found}: it was changed after it was made; \
         make it again with `replank plan`",
        codes::PLAN_CHANGED
    )]
    Changed { written: PlanId, found: PlanId },
    #[error(
        "{}: the plan file holds {id}, but not in the bytes that `replank plan` writes; make it again with `replank plan`",
        codes::PLAN_CHANGED
    )]
    Rewritten { id: PlanId },
}

impl PlanFileError {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form { .. } => codes::PLAN_FORM,
            Self::Newer { .. } => codes::PLAN_NEWER,
            Self::Changed { .. } | Self::Rewritten { .. } => codes::PLAN_CHANGED,
        }
    }
}

#[derive(Serialize)]
struct Written<'p> {
    id: &'p PlanId,
    plan: &'p Plan,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    id: PlanId,
    plan: Plan,
}

#[derive(Deserialize)]
struct Head {
    plan: HeadOfPlan,
}

#[derive(Deserialize)]
struct HeadOfPlan {
    format: u32,
}

impl Plan {
    /// The plan's content address.
    pub fn id(&self) -> PlanId {
        PlanId::new(format!("sha256:{}", digest::of(self))).expect("a SHA-256 in hexadecimal makes a plan id")
    }

    /// The bytes of the plan file.
    pub fn to_bytes(&self) -> Vec<u8> {
        digest::canonical_bytes(&Written { id: &self.id(), plan: self })
    }

    /// Reads a plan file and proves that it is as it was made.
    ///
    /// # Errors
    /// Bytes that are not a plan file, one of a newer format, or one that was changed by as much as a blank.
    pub fn from_bytes(bytes: &[u8]) -> Result<(PlanId, Self), PlanFileError> {
        let form = |error: serde_json::Error| PlanFileError::Form { why: error.to_string() };
        let Head { plan: HeadOfPlan { format } } = serde_json::from_slice(bytes).map_err(form)?;
        if format > PLAN_FORMAT {
            return Err(PlanFileError::Newer { found: format });
        }
        let Read { id, plan } = serde_json::from_slice(bytes).map_err(form)?;
        let found = plan.id();
        if found != id {
            return Err(PlanFileError::Changed { written: id, found });
        }
        if plan.to_bytes() != bytes {
            return Err(PlanFileError::Rewritten { id });
        }
        Ok((id, plan))
    }

    /// Proves all at once that `bytes` are the plan file of `id`; see [`Proof`].
    ///
    /// # Errors
    /// [`PlanFileError::Changed`] or [`PlanFileError::Rewritten`].
    pub fn prove(id: &PlanId, bytes: &[u8]) -> Result<(), PlanFileError> {
        let mut proof = Proof::of(id);
        proof.add(bytes)?;
        proof.end()
    }

    /// Reads a plan file of which [`Self::prove`] tells, at the same time or before, that it is as it was made.
    ///
    /// # Errors
    /// [`PlanFileError::Form`] or [`PlanFileError::Newer`].
    pub fn from_proved_bytes(bytes: &[u8]) -> Result<Self, PlanFileError> {
        match serde_json::from_slice(bytes) {
            Ok(Read { plan, .. }) if plan.format <= PLAN_FORMAT => Ok(plan),
            Ok(Read { plan, .. }) => Err(PlanFileError::Newer { found: plan.format }),
            // Of a newer format, or none at all.
            Err(_) => Self::from_bytes(bytes).map(|(_, plan)| plan),
        }
    }
}
