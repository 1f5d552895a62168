//! One execution of a plan: events, their fold, and what to do next.
