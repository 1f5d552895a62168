//! The coordinator's own commands: init and serve.

use super::args::{InitArgs, ServeArgs};
use super::failure::{Failure, chain};
use super::files::shell_word;
use super::hosts::now_ms;
use super::output::Output;
use crate::{init, serve};
use serde_json::json;

/// Makes a coordinator's folder and says what comes next.
///
/// # Errors
/// The folder is taken or cannot be made.
pub fn init(out: Output, args: &InitArgs) -> Result<(), Failure> {
    let options = init::Options {
        listen: args.listen,
        metrics: args.metrics,
        names: args.names.clone(),
        operator: args.operator.clone(),
    };
    let made = init::run(&args.dir, &options, now_ms())
        .map_err(|error| Failure::Local { code: error.code(), text: chain(&error) })?;
    if out.json {
        return out.document(&json!({
            "dir": made.dir,
            "authority": made.authority.to_string(),
            "operator": made.operator,
            "coordinator": made.coordinator,
            "names": made.names,
            "given_to": made.given_to.map(|owner| json!({ "user": owner.user, "group": owner.group })),
        }));
    }
    let owner = made.given_to.map_or_else(String::new, |owner| {
        format!("\x20 owner        user {}, group {}, as the empty folder was\n", owner.user, owner.group)
    });
    let dir = shell_word(&made.dir.display().to_string());
    out.data(&format!(
        "Made the coordinator's folder {dir}\n\
         \x20 authority    {}\n\
         \x20 operator     {}, an admin\n\
         \x20 coordinator  {} (also known as {})\n{owner}\n\
         Start it with:    replank serve --dir {dir}\n\
         Then, as {}:   export REPLANK_CONFIG={dir}/operator.toml\n",
        made.authority,
        made.operator,
        made.coordinator,
        made.names.join(", "),
        made.operator,
    ))
}

/// Runs the coordinator until it is told to stop.
///
/// # Errors
/// The folder cannot be used, or the coordinator failed.
pub fn serve(args: &ServeArgs) -> Result<(), Failure> {
    serve::run(&args.dir).map_err(|error| Failure::Local { code: error.code(), text: chain(&error) })
}
