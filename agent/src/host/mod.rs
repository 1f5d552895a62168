//! The host as the agent sees it: one adapter a tool, each parsing just what it needs, with fixtures beside it.

/// The adapters and directories that actions work with.
#[derive(Debug)]
pub struct Host {}
