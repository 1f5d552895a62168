//! What operators ask for over the wire, each call with the level that it needs.
//!
//! | level | calls |
//! | --- | --- |
//! | viewer | `ListHosts`, `GetInventory`, `GetPlan`, `ListRuns`, `GetRun`, `GetReport`, `Watch`, `RenewOperator` (its own) |
//! | operator | also `PutPlan`, `Apply`, `Approve`, `Pause`, `Resume`, `Retry`, `Abort`, `Rollback` |
//! | admin | also `CreateToken`, `RevokeHost`: who belongs to the fleet (a token lets a revoked host in again) |
//! | admin | also `IssueOperator`, `ListOperators`, `RevokeOperator`: who may ask, and what |
//!
//! Who asked is the name in the certificate; it is what the journal keeps. A `Watch` ends with the certificate that it was asked with.

use super::inventory;
use crate::codes;
use crate::drive::{self, Clock, Told};
use crate::links::{self, caller_of, operator_of};
use replank_common::ids::{BadId, GuestUuid, HostName, RunId};
use replank_core::plan::Stage;
use replank_core::run::view::HaltView;
use replank_core::run::{Operate, RunView};
use replank_identity::{BadRole, Level, OperatorName};
use replank_proto::MESSAGE_BYTES_MAX;
use replank_proto::v1::operator_service_server::{OperatorService, OperatorServiceServer};
use replank_proto::v1::*;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// Bounds on how long hosts are waited for when facts are collected.
const FACTS_TIME_MIN: Duration = Duration::from_secs(1);
const FACTS_TIME_MAX: Duration = Duration::from_secs(3600);

/// The operators' service.
#[derive(Debug)]
pub(super) struct Operators {
    runs: drive::Handle,
    hosts: links::Handle,
    certificates: links::Operators,
    clock: Clock,
}

impl Operators {
    pub(super) fn new(
        runs: drive::Handle,
        hosts: links::Handle,
        certificates: links::Operators,
        clock: Clock,
    ) -> Self {
        Self { runs, hosts, certificates, clock }
    }

    pub(super) fn service(self) -> OperatorServiceServer<Self> {
        OperatorServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A decision about a run, for whoever may take one.
    async fn operate<T>(&self, request: &Request<T>, run: &str, wish: Operate) -> Result<(), Status> {
        let by = operator_of(request, Level::Operator)?;
        let run = named_run(run)?;
        tracing::info!(%by, %run, ?wish, "an operator decides");
        self.runs.operate(Some(run), by.as_str(), wish).await?;
        Ok(())
    }
}

#[tonic::async_trait]
impl OperatorService for Operators {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let by = operator_of(&request, Level::Admin)?;
        let CreateTokenRequest { host, lifetime_seconds } = request.into_inner();
        let host = HostName::new(host).map_err(bad_id)?;
        let lifetime = Duration::from_secs(lifetime_seconds.into());
        let token = self.hosts.create_token(&host, lifetime).await?;
        tracing::info!(%by, %host, expires_at_ms = token.expires_at_ms, "a join token was made");
        Ok(Response::new(CreateTokenResponse { token: token.text, expires_at_ms: token.expires_at_ms }))
    }

    async fn list_hosts(
        &self,
        request: Request<ListHostsRequest>,
    ) -> Result<Response<ListHostsResponse>, Status> {
        operator_of(&request, Level::Viewer)?;
        let hosts = self.hosts.hosts().await?.iter().map(host_status).collect::<Result<_, _>>()?;
        Ok(Response::new(ListHostsResponse { hosts }))
    }

    async fn revoke_host(
        &self,
        request: Request<RevokeHostRequest>,
    ) -> Result<Response<RevokeHostResponse>, Status> {
        let by = operator_of(&request, Level::Admin)?;
        let host = HostName::new(request.into_inner().host).map_err(bad_id)?;
        self.hosts.revoke(&host, &by).await?;
        Ok(Response::new(RevokeHostResponse {}))
    }

    async fn get_inventory(
        &self,
        request: Request<GetInventoryRequest>,
    ) -> Result<Response<GetInventoryResponse>, Status> {
        operator_of(&request, Level::Viewer)?;
        let deadline = Duration::from_millis(request.into_inner().deadline_ms.into());
        let deadline = deadline.clamp(FACTS_TIME_MIN, FACTS_TIME_MAX);
        let inventory = inventory::collect(&self.hosts, self.clock, deadline).await?;
        Ok(Response::new(GetInventoryResponse { inventory_json: inventory.to_bytes() }))
    }

    async fn put_plan(&self, request: Request<PutPlanRequest>) -> Result<Response<PutPlanResponse>, Status> {
        operator_of(&request, Level::Operator)?;
        let plan = self.runs.put_plan(request.into_inner().plan_json).await?;
        Ok(Response::new(PutPlanResponse { plan_id: plan.to_string() }))
    }

    async fn get_plan(&self, request: Request<GetPlanRequest>) -> Result<Response<GetPlanResponse>, Status> {
        operator_of(&request, Level::Viewer)?;
        let plan = replank_common::ids::PlanId::new(request.into_inner().plan_id).map_err(bad_id)?;
        Ok(Response::new(GetPlanResponse { plan_json: self.runs.plan(plan).await? }))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let by = operator_of(&request, Level::Operator)?;
        let plan = replank_common::ids::PlanId::new(request.into_inner().plan_id).map_err(bad_id)?;
        let run = self.runs.apply(plan.clone(), by.as_str()).await?;
        tracing::info!(%by, %run, %plan, "a run was begun");
        Ok(Response::new(ApplyResponse { run_id: run.to_string() }))
    }

    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        operator_of(&request, Level::Viewer)?;
        let runs = self.runs.runs().await?;
        let summary = |row: crate::store::RunRow| RunSummary {
            run_id: row.run.to_string(),
            plan_id: row.plan.to_string(),
            phase: row.standing.phase,
            created_at_ms: row.created_ms,
            steps_done: row.standing.steps_done,
            steps_total: row.standing.steps_total,
        };
        Ok(Response::new(ListRunsResponse { runs: runs.into_iter().map(summary).collect() }))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        operator_of(&request, Level::Viewer)?;
        let mut view = self.runs.view(run_or_latest(&request.into_inner().run_id)?).await?;
        view.tell_who_leads(self.runs.epoch(), &self.hosts.obey_another());
        Ok(Response::new(GetRunResponse { run_json: json(&view)? }))
    }

    async fn get_report(
        &self,
        request: Request<GetReportRequest>,
    ) -> Result<Response<GetReportResponse>, Status> {
        operator_of(&request, Level::Viewer)?;
        let report = self.runs.report(run_or_latest(&request.into_inner().run_id)?).await?;
        Ok(Response::new(GetReportResponse { report_json: json(&report)? }))
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Result<Response<ApproveResponse>, Status> {
        let ApproveRequest { run_id, hold_id } = request.get_ref();
        let hold = hold_id.parse().map_err(bad_id)?;
        self.operate(&request, run_id, Operate::Approve { hold }).await?;
        Ok(Response::new(ApproveResponse {}))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        self.operate(&request, &request.get_ref().run_id, Operate::Pause).await?;
        Ok(Response::new(PauseResponse {}))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        // Before the run is looked at for the names.
        operator_of(&request, Level::Operator)?;
        let ResumeRequest { run_id, acknowledged_guests } = request.get_ref();
        let acknowledged = if acknowledged_guests.is_empty() {
            Vec::new()
        } else {
            let view = self.runs.view(Some(named_run(run_id)?)).await?;
            acknowledged(&view, acknowledged_guests)?
        };
        self.operate(&request, run_id, Operate::Resume { acknowledged }).await?;
        Ok(Response::new(ResumeResponse {}))
    }

    async fn retry(&self, request: Request<RetryRequest>) -> Result<Response<RetryResponse>, Status> {
        let RetryRequest { run_id, step_id } = request.get_ref();
        let step = step_id.parse().map_err(bad_id)?;
        self.operate(&request, run_id, Operate::Retry { step }).await?;
        Ok(Response::new(RetryResponse {}))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<AbortResponse>, Status> {
        self.operate(&request, &request.get_ref().run_id, Operate::Abort).await?;
        Ok(Response::new(AbortResponse {}))
    }

    async fn rollback(
        &self,
        request: Request<RollbackRequest>,
    ) -> Result<Response<RollbackResponse>, Status> {
        let RollbackRequest { run_id, to_stage } = request.get_ref();
        let to = stage(to_stage)?;
        self.operate(&request, run_id, Operate::Rollback { to }).await?;
        Ok(Response::new(RollbackResponse {}))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller_of(&request, Level::Viewer)?;
        let WatchRequest { run_id, since_index } = request.into_inner();
        let watching = self.runs.watch(run_or_latest(&run_id)?, since_index).await?;
        let told = watching.into_stream().map(|told| told.map(watched).map_err(Status::from));
        let refused = self.certificates.refused(caller);
        Ok(Response::new(Box::pin(Held { told: Box::pin(told), refused: Some(Box::pin(refused)) })))
    }

    async fn issue_operator(
        &self,
        request: Request<IssueOperatorRequest>,
    ) -> Result<Response<IssueOperatorResponse>, Status> {
        let by = caller_of(&request, Level::Admin)?;
        let IssueOperatorRequest { name, level, csr } = request.into_inner();
        let name = OperatorName::new(&name).map_err(bad_role)?;
        let level = level.parse().map_err(bad_role)?;
        let certificate_chain = self.certificates.issue(&name, level, &csr, &by).await?;
        Ok(Response::new(IssueOperatorResponse { certificate_chain }))
    }

    async fn list_operators(
        &self,
        request: Request<ListOperatorsRequest>,
    ) -> Result<Response<ListOperatorsResponse>, Status> {
        operator_of(&request, Level::Admin)?;
        let status = |one: links::OperatorStatus| OperatorStatus {
            name: one.name.to_string(),
            level: one.level.to_string(),
            revoked: one.revoked,
            certificate_expires_at_ms: one.certificate_expires_at_ms,
        };
        let operators = self.certificates.list().await?.into_iter().map(status).collect();
        Ok(Response::new(ListOperatorsResponse { operators }))
    }

    async fn revoke_operator(
        &self,
        request: Request<RevokeOperatorRequest>,
    ) -> Result<Response<RevokeOperatorResponse>, Status> {
        let by = caller_of(&request, Level::Admin)?;
        let name = OperatorName::new(&request.get_ref().name).map_err(bad_role)?;
        self.certificates.revoke(&name, &by).await?;
        Ok(Response::new(RevokeOperatorResponse {}))
    }

    async fn renew_operator(
        &self,
        request: Request<RenewOperatorRequest>,
    ) -> Result<Response<RenewOperatorResponse>, Status> {
        let by = caller_of(&request, Level::Viewer)?;
        let certificate_chain = self.certificates.renew(&request.get_ref().csr, &by).await?;
        Ok(Response::new(RenewOperatorResponse { certificate_chain }))
    }
}

/// What a watcher is told for as long as its certificate holds.
struct Held {
    told: <Operators as OperatorService>::WatchStream,
    /// `None` once it has come.
    refused: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
}

impl Stream for Held {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(refused) = self.refused.as_mut() else { return Poll::Ready(None) };
        match refused.as_mut().poll(cx) {
            Poll::Ready(status) => {
                self.refused = None;
                Poll::Ready(Some(Err(status)))
            }
            Poll::Pending => self.told.as_mut().poll_next(cx),
        }
    }
}

fn watched(told: Told) -> WatchResponse {
    match told {
        Told::Line(line) => {
            WatchResponse { index: line.seq, at_ms: line.at_ms, event_json: line.event.into_bytes() }
        }
        Told::Progress { at_ms, json } => {
            WatchResponse { index: 0, at_ms, event_json: json.as_bytes().to_vec() }
        }
    }
}

fn host_status(host: &links::HostStatus) -> Result<HostStatus, Status> {
    let seen = &host.seen;
    Ok(HostStatus {
        name: host.name.to_string(),
        linked: seen.linked,
        heard_at_ms: seen.heard_at_ms.unwrap_or(0),
        agent_version: seen.agent_version.clone(),
        revoked: host.revoked,
        observe_only: seen.observe_only,
        certificate_expires_at_ms: host.certificate_expires_at_ms,
        census_json: seen.census.as_deref().map(json).transpose()?.unwrap_or_default(),
    })
}

/// The guests that are meant, each by UUID or by its name in a halt of the run.
fn acknowledged(view: &RunView, named: &[String]) -> Result<Vec<GuestUuid>, Status> {
    named.iter().map(|named| guest(&view.halts, named)).collect()
}

fn guest(halts: &[HaltView], named: &str) -> Result<GuestUuid, Status> {
    if let Ok(uuid) = named.parse() {
        return Ok(uuid);
    }
    let guests = || halts.iter().flat_map(|halt| &halt.guests);
    let mut meant: Vec<GuestUuid> =
        guests().filter(|guest| guest.name == named).map(|guest| guest.uuid).collect();
    meant.sort_unstable();
    meant.dedup();
    match meant.as_slice() {
        [one] => Ok(*one),
        [] => {
            let known: Vec<String> =
                guests().map(|guest| format!("{} ({})", guest.name, guest.uuid)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(bad_request(format!("no guest `{named}` waits to be acknowledged; those that do: {known}")))
        }
        several => {
            let uuids: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(bad_request(format!(
                "several guests are called `{named}`; name them by UUID: {}",
                uuids.join(", ")
            )))
        }
    }
}

fn named_run(text: &str) -> Result<RunId, Status> {
    RunId::new(text).map_err(bad_id)
}

fn run_or_latest(text: &str) -> Result<Option<RunId>, Status> {
    if text.is_empty() { Ok(None) } else { named_run(text).map(Some) }
}

fn stage(text: &str) -> Result<Option<Stage>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let known = Stage::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| {
        let words: Vec<&str> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        bad_request(format!("there is no stage `{text}`; name one of {}", words.join(", ")))
    });
    known.map(Some)
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Status> {
    serde_json::to_vec(value).map_err(|error| Status::internal(format!("failed to write an answer: {error}")))
}

fn bad_id(error: BadId) -> Status {
    bad_request(error)
}

fn bad_role(error: BadRole) -> Status {
    bad_request(error)
}

fn bad_request(text: impl Display) -> Status {
    Status::invalid_argument(format!("{}: {text}", codes::BAD_REQUEST))
}
