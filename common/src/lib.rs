//! The words both sides of replank share: ids, actions, census, facts, readings, outcomes. Pure.
