//! Fleet file, inventory, catalog, plan, lint, gates and runs: pure functions over plain data.
