//! The link to the coordinator: dialled by the agent, one stream, for as long as the agent lives.
