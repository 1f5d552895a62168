//! The ledger: the agent's own durable record of every action.
