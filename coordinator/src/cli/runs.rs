//! Runs: start one, look at it, decide about it.

use super::args::{ApplyArgs, PlanOrRun, PlanRef, ReportArgs};
use super::connect::{Asks, Coordinator, document};
use super::failure::Failure;
use super::files::{self, PlanFile};
use super::output::{Output, table};
use super::{beats, offline};
use replank_common::ids::{HoldId, PlanId, RunId, StepId};
use replank_core::gate::utc;
use replank_core::plan::Stage;
use replank_core::run::{Phase, Report, RunView};
use replank_proto::v1::{
    AbortRequest, ApplyRequest, ApproveRequest, GetPlanRequest, GetReportRequest, GetRunRequest,
    ListRunsRequest, PauseRequest, PutPlanRequest, ResumeRequest, RetryRequest, RollbackRequest,
};
use serde_json::{Value, json};
use std::path::Path;

/// What to do when it is not known whether a decision was taken.
const LOOK_FIRST: Asks =
    Asks::Changes("it may have been done: look with `replank status` before trying again");

/// A decision about a run.
#[derive(Debug)]
pub enum Decision<'a> {
    Approve(&'a HoldId),
    Pause,
    /// With the guests that are acknowledged as lost.
    Resume(&'a [String]),
    Retry(&'a StepId),
    Abort,
    Rollback(Option<Stage>),
}

/// The plan that is meant, from its file or from the coordinator.
///
/// # Errors
/// The file is bad, or the coordinator has no such plan.
pub async fn plan(coordinator: &Coordinator, plan: &PlanRef) -> Result<PlanFile, Failure> {
    match plan {
        PlanRef::File(path) => files::plan(path),
        PlanRef::Id(id) => stored_plan(coordinator, id).await,
    }
}

async fn stored_plan(coordinator: &Coordinator, id: &PlanId) -> Result<PlanFile, Failure> {
    let request = Coordinator::request(GetPlanRequest { plan_id: id.to_string() });
    let answer = coordinator.client().get_plan(request).await;
    let bytes = answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner().plan_json;
    let file = files::plan_of(Path::new(id.as_str()), bytes)?;
    if file.id == *id {
        Ok(file)
    } else {
        Err(Failure::Answer { what: "`show`", why: format!("it is another plan, {}", file.id) })
    }
}

/// Stores the plan if it is a file, starts its run and prints the run's id.
///
/// # Errors
/// The plan is bad or unsound, or the coordinator refuses.
pub async fn apply(out: Output, coordinator: &Coordinator, args: &ApplyArgs) -> Result<RunId, Failure> {
    let file = plan(coordinator, &args.plan).await?;
    offline::sound(out, &file.plan)?;
    let plan_id = file.id.to_string();
    if let PlanRef::File(_) = args.plan {
        // Twice is the same as once, so a lost answer is harmless.
        let asks = Asks::Changes("no run was started; apply again");
        let answer = coordinator
            .client()
            .put_plan(Coordinator::request(PutPlanRequest { plan_json: file.bytes }))
            .await;
        answer.map_err(|status| coordinator.failure(asks, &status))?;
    }
    let asks = Asks::Changes("a run may have been started: look with `replank runs` before applying again");
    let answer = coordinator.client().apply(Coordinator::request(ApplyRequest { plan_id })).await;
    let run = answer.map_err(|status| coordinator.failure(asks, &status))?.into_inner().run_id;
    let run = RunId::new(run).map_err(|error| Failure::Answer { what: "`apply`", why: error.to_string() })?;
    if out.json {
        out.json_line(&json!({ "run": run, "plan": file.id }))?;
    } else {
        out.data(&format!("{run}\n"))?;
    }
    if !args.watch {
        out.note(&format!("follow it with: replank watch {run}"));
    }
    Ok(run)
}

/// Where a run is now; `None` is the latest.
///
/// # Errors
/// As the coordinator refuses.
pub async fn view(coordinator: &Coordinator, run: Option<&RunId>) -> Result<RunView, Failure> {
    let run_id = run.map(ToString::to_string).unwrap_or_default();
    let answer = coordinator.client().get_run(Coordinator::request(GetRunRequest { run_id })).await;
    let bytes = answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner().run_json;
    document("`status`", &bytes)
}

/// # Errors
/// [`Failure::Halted`] after it was shown; as the coordinator refuses.
pub async fn status(out: Output, coordinator: &Coordinator, run: Option<&RunId>) -> Result<(), Failure> {
    let view = view(coordinator, run).await?;
    if out.json {
        out.document(&view)?;
    } else {
        out.data(&view.text())?;
    }
    match view.phase {
        Phase::Halted => Err(Failure::Halted { run: view.run.to_string() }),
        Phase::Counting
        | Phase::Running
        | Phase::AtHold
        | Phase::Held
        | Phase::Paused
        | Phase::AskingWayBack
        | Phase::RollingBack
        | Phase::Aborting
        | Phase::Closing
        | Phase::Completed
        | Phase::Aborted
        | Phase::RolledBack => Ok(()),
    }
}

/// # Errors
/// As the coordinator refuses.
pub async fn why(out: Output, coordinator: &Coordinator, run: Option<&RunId>) -> Result<(), Failure> {
    let view = view(coordinator, run).await?;
    if !out.json {
        return out.data(&view.why());
    }
    out.document(&json!({
        "run": view.run,
        "phase": view.phase,
        "now_ms": view.now_ms,
        "halts": view.halts,
        "waits": view.waits,
        "borrowed": view.borrowed,
        "way_back_closed": view.way_back_closed,
        "way_back_closed_more": view.way_back_closed_more,
    }))
}

/// # Errors
/// As the coordinator refuses.
pub async fn show(out: Output, coordinator: &Coordinator, what: &PlanOrRun) -> Result<(), Failure> {
    let run = match what {
        PlanOrRun::Plan(reference) => return offline::show(out, &plan(coordinator, reference).await?),
        PlanOrRun::Run(run) => run,
    };
    let view = view(coordinator, Some(run)).await?;
    let file = stored_plan(coordinator, &view.plan).await?;
    if out.json {
        return out.document(&json!({ "run": view, "plan": { "id": file.id, "plan": file.plan } }));
    }
    out.data(&view.text())?;
    out.data("\n")?;
    offline::show(out, &file)
}

/// Takes a decision and says that it was taken.
///
/// # Errors
/// As the coordinator refuses.
pub async fn decide(
    out: Output,
    coordinator: &Coordinator,
    run: &RunId,
    decision: Decision<'_>,
) -> Result<(), Failure> {
    let run_id = run.to_string();
    let mut client = coordinator.client();
    let (answer, done) = match decision {
        Decision::Approve(hold) => {
            let request = ApproveRequest { run_id, hold_id: hold.to_string() };
            (client.approve(Coordinator::request(request)).await.map(drop), format!("{hold} is approved"))
        }
        Decision::Pause => {
            let request = Coordinator::request(PauseRequest { run_id });
            (client.pause(request).await.map(drop), "paused; what is in flight is finished".to_owned())
        }
        Decision::Resume(lost) => {
            let request = Coordinator::request(ResumeRequest { run_id, acknowledged_guests: lost.to_vec() });
            (client.resume(request).await.map(drop), "goes on".to_owned())
        }
        Decision::Retry(step) => {
            let request = RetryRequest { run_id, step_id: step.to_string() };
            (client.retry(Coordinator::request(request)).await.map(drop), format!("{step} is tried again"))
        }
        Decision::Abort => {
            let request = Coordinator::request(AbortRequest { run_id });
            (client.abort(request).await.map(drop), "ends; what was borrowed is given back".to_owned())
        }
        Decision::Rollback(to) => {
            let to_stage = to.map(|stage| stage.as_str().to_owned()).unwrap_or_default();
            let request = Coordinator::request(RollbackRequest { run_id, to_stage });
            let done = "asks every guard whether the way back is safe, and then takes its steps back";
            (client.rollback(request).await.map(drop), done.to_owned())
        }
    };
    answer.map_err(|status| coordinator.failure(LOOK_FIRST, &status))?;
    if out.json {
        return out.document(&json!({ "run": run, "accepted": true }));
    }
    out.note(&format!("{run}: {done}"));
    Ok(())
}

/// # Errors
/// The file of beats is bad, or as the coordinator refuses.
pub async fn report(out: Output, coordinator: &Coordinator, args: &ReportArgs) -> Result<(), Failure> {
    let beats = args.beats.as_deref().map(beats::read).transpose()?;
    let request = Coordinator::request(GetReportRequest { run_id: args.run.to_string() });
    let answer = coordinator.client().get_report(request).await;
    let bytes = answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner().report_json;
    let report: Report = document("`report`", &bytes)?;
    let column = beats.map(|beats| beats.column(&report));
    if !out.json {
        return out.data(&report.text(column.as_ref()));
    }
    let mut value = json!(report);
    if let Some(column) = column {
        value["beats"] = json!(column.cells);
    }
    out.document(&value)
}

/// # Errors
/// As the coordinator refuses.
pub async fn list(out: Output, coordinator: &Coordinator) -> Result<(), Failure> {
    let answer = coordinator.client().list_runs(Coordinator::request(ListRunsRequest {})).await;
    let mut runs = answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner().runs;
    // Ids sort by the time at which they were made.
    runs.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    if out.json {
        let runs: Vec<Value> = runs
            .iter()
            .map(|run| {
                json!({
                    "run": run.run_id,
                    "plan": run.plan_id,
                    "phase": run.phase,
                    "created_at_ms": run.created_at_ms,
                    "steps_done": run.steps_done,
                    "steps_total": run.steps_total,
                })
            })
            .collect();
        return out.document(&json!({ "runs": runs }));
    }
    if runs.is_empty() {
        out.note("no run yet; begin with `replank plan`");
        return Ok(());
    }
    let rows = runs
        .into_iter()
        .map(|run| {
            let steps = format!("{}/{}", run.steps_done, run.steps_total);
            vec![run.run_id, run.phase, steps, utc(run.created_at_ms), run.plan_id]
        })
        .collect();
    out.data(&table(&["run", "phase", "steps", "begun", "plan"], rows, &[2]))
}
