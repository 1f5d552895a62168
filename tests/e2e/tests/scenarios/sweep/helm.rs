//! A coordinator whose drive is the test: the real store and the real links (mutual TLS, the real protocol), and nobody who decides but the sweep.
//!
//! Owns the link to the agent and what was heard on it. Sends a command again on each new link, as the drive does, under the same id and number.

use anyhow::{Context, Result, bail, ensure};
use replank_common::ids::{ActionId, Direction, Epoch, HostName, PlanId};
use replank_common::outcome::Outcome;
use replank_coordinator::config::{Folder, Settings};
use replank_coordinator::drive::Clock;
use replank_coordinator::links::{self, Links};
use replank_coordinator::store::Store;
use replank_core::run::{Command, Order};
use replank_core::runs::{LinkNumber, Outlet, What};
use replank_e2e::PORT;
use replank_lab::Lab;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// For one command, an agent's death and its start included.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);

/// What became of one command.
#[derive(Debug, Clone)]
pub struct Answer {
    pub outcome: Outcome,
    /// Over how many links it was asked: one more with each death of the agent.
    pub links: usize,
    /// The last hello that came on the way named the command as begun and not ended.
    pub remembered: bool,
}

/// The coordinator; it ends when it is dropped.
pub struct Helm {
    host: HostName,
    plan: PlanId,
    epoch: Epoch,
    links: links::Handle,
    events: links::Events,
    link: Option<LinkNumber>,
    /// Outcomes that came, by the id of their command.
    answers: BTreeMap<ActionId, usize>,
    asked: BTreeMap<ActionId, usize>,
    stop: CancellationToken,
    runtime: Runtime,
}

impl Helm {
    /// Takes the folder of a coordinator that has ended, begins the next epoch, and listens where it listened.
    ///
    /// # Errors
    /// The folder is in use or cannot be used; the address is taken.
    pub fn take(lab: &Lab, folder: &Path, host: &str, plan: PlanId) -> Result<Self> {
        let folder = Folder::new(folder);
        let settings = Settings::read(&folder.settings())?;
        let store = Store::open(&folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        // A socket stays in the network that it was made in.
        let listener = lab.within(|| Ok(std::net::TcpListener::bind(("0.0.0.0", PORT))))??;
        listener.set_nonblocking(true)?;
        let stop = CancellationToken::new();
        let (links, events, epoch) = runtime.block_on(async {
            let epoch = store.write(|database| database.next_epoch()).await?;
            let (links, events) = Links::open(&folder, &settings, store, Clock::start(), epoch).await?;
            let handle = links.handle();
            let serving = links.serve(
                TcpListener::from_std(listener)?,
                tonic::service::Routes::default(),
                stop.clone(),
            );
            tokio::spawn(serving);
            anyhow::Ok((handle, events, epoch))
        })?;
        let (answers, asked) = Default::default();
        let host = HostName::new(host)?;
        Ok(Self { host, plan, epoch, links, events, link: None, answers, asked, stop, runtime })
    }

    /// Commands, and waits for the outcome.
    ///
    /// # Errors
    /// None came in time.
    pub fn ask(&mut self, id: &ActionId, order: Order) -> Result<Answer> {
        let asking = self.asked.entry(id.clone()).or_default();
        *asking += 1;
        let command = Command {
            host: self.host.clone(),
            epoch: self.epoch,
            plan: self.plan.clone(),
            action: id.clone(),
            order,
            deadline_ms: 120_000,
            asking: *asking as u64,
        };
        let (mut links, mut remembered) = (0, false);
        if let Some(link) = self.link {
            self.links.command(link, &command);
            links += 1;
        }
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        loop {
            match self.hear(deadline).with_context(|| format!("waiting for the outcome of {id}"))? {
                Heard::Linked { link, unfinished } => {
                    remembered = unfinished.contains(id);
                    self.links.command(link, &command);
                    links += 1;
                }
                Heard::Outcome { of, outcome } if of == *id => {
                    return Ok(Answer { outcome, links, remembered });
                }
                Heard::Outcome { .. } | Heard::Other => {}
            }
        }
    }

    fn hear(&mut self, deadline: Instant) -> Result<Heard> {
        let left = deadline.saturating_duration_since(Instant::now());
        let next = self.runtime.block_on(async { tokio::time::timeout(left, self.events.next()).await });
        let Ok(event) = next else { bail!("the agent said nothing more in time; linked: {:?}", self.link) };
        let event = event.context("the links have ended")?;
        if event.host != self.host {
            return Ok(Heard::Other);
        }
        Ok(match event.what {
            What::Up(hello) => {
                self.link = Some(event.link);
                Heard::Linked { link: event.link, unfinished: hello.unfinished }
            }
            What::Down => {
                self.link = self.link.filter(|link| *link != event.link);
                Heard::Other
            }
            What::Outcome { action, outcome } => {
                *self.answers.entry(action.clone()).or_default() += 1;
                Heard::Outcome { of: action, outcome }
            }
            What::Census(_) | What::Accepted { .. } | What::Progress { .. } | What::Reading { .. } => {
                Heard::Other
            }
        })
    }

    /// Every command was answered as often as it was asked.
    ///
    /// # Errors
    /// Names the first that was not.
    pub fn each_answered_once(&self) -> Result<()> {
        for (id, asked) in &self.asked {
            let answers = self.answers.get(id).copied().unwrap_or_default();
            ensure!(answers == *asked, "{id} was asked {asked} times and answered {answers} times");
        }
        ensure!(self.answers.len() == self.asked.len(), "outcomes came of commands that nobody gave");
        Ok(())
    }
}

enum Heard {
    Linked { link: LinkNumber, unfinished: Vec<ActionId> },
    Outcome { of: ActionId, outcome: Outcome },
    Other,
}

impl Drop for Helm {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The order that takes back what `of` did.
pub fn undo(of: &ActionId) -> Order {
    debug_assert_eq!(of.direction, Direction::Do);
    Order::Undo { of: of.clone() }
}
