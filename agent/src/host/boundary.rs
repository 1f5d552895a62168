//! Named instants between the sub-steps of an action, at which a test can end the agent.

use std::fmt;
use std::sync::Arc;

/// Called with a name at each instant at which the world differs from what it was at the instant before.
#[derive(Clone, Default)]
pub struct Boundary(Option<Arc<Hook>>);

type Hook = dyn Fn(&str) + Send + Sync;

impl Boundary {
    /// In production nothing happens at a boundary.
    pub fn none() -> Self {
        Self(None)
    }

    /// `hook` may panic or abort: that is a crash at this very instant.
    pub fn hooked(hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub fn reached(&self, instant: &str) {
        if let Some(hook) = &self.0 {
            hook(instant);
        }
    }
}

impl fmt::Debug for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Boundary(hooked)" } else { "Boundary" })
    }
}
