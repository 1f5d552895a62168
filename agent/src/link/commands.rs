//! From the wire to what is meant. What is not understood is refused by its id, never guessed at.

use super::ports::{Order, Work};
use replank_common::action::Action;
use replank_common::ids::{ActionId, Direction, Epoch};
use replank_common::reading::ReadingRequest;
use replank_proto::BadMessage;
use replank_proto::v1::{self, link_response::Message};
use std::time::Duration;

/// One message of the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Welcome(v1::Welcome),
    Do(Box<Order>),
    Cancel {
        epoch: Epoch,
        id: ActionId,
    },
    Ask {
        epoch: Epoch,
        ask_id: u64,
        request: ReadingRequest,
        deadline: Duration,
    },
    Heartbeat,
    /// An order that cannot be understood; `action_id` as it came.
    BadOrder {
        action_id: String,
        why: String,
    },
    BadAsk {
        ask_id: u64,
        why: String,
    },
    /// Of a kind that this agent does not know, from a newer coordinator that expects no answer.
    Unknown,
}

pub(crate) fn read(response: v1::LinkResponse) -> Command {
    match response.message {
        Some(Message::Welcome(welcome)) => Command::Welcome(welcome),
        Some(Message::Execute(execute)) => {
            let action_id = execute.action_id.clone();
            do_it(execute).map_or_else(|why| Command::BadOrder { action_id, why }, order)
        }
        Some(Message::Undo(undo)) => {
            let action_id = undo.action_id.clone();
            take_back(&undo).map_or_else(|why| Command::BadOrder { action_id, why }, order)
        }
        Some(Message::Cancel(cancel)) => match cancel.action_id.parse() {
            Ok(id) => Command::Cancel { epoch: Epoch(cancel.epoch), id },
            Err(error) => Command::BadOrder { action_id: cancel.action_id.clone(), why: text(error) },
        },
        Some(Message::Reading(ask)) => {
            let ask_id = ask.ask_id;
            let deadline = milliseconds(ask.deadline_ms);
            let measurement = ask.measurement.ok_or_else(|| "it does not say what to measure".to_owned());
            match measurement.and_then(|measurement| ReadingRequest::try_from(measurement).map_err(text)) {
                Ok(request) => Command::Ask { epoch: Epoch(ask.epoch), ask_id, request, deadline },
                Err(why) => Command::BadAsk { ask_id, why },
            }
        }
        Some(Message::Heartbeat(_)) => Command::Heartbeat,
        None => Command::Unknown,
    }
}

fn order(order: Order) -> Command {
    Command::Do(Box::new(order))
}

fn do_it(execute: v1::Execute) -> Result<Order, String> {
    let id = id(&execute.action_id, Direction::Do)?;
    let action = execute.action.ok_or_else(|| "it does not say what to do".to_owned())?;
    let action = Action::try_from(action).map_err(|error: BadMessage| text(error))?;
    Ok(Order {
        epoch: Epoch(execute.epoch),
        id,
        plan_id: execute.plan_id,
        deadline: milliseconds(execute.deadline_ms),
        work: Work::Do(action),
    })
}

fn take_back(undo: &v1::Undo) -> Result<Order, String> {
    Ok(Order {
        epoch: Epoch(undo.epoch),
        id: id(&undo.action_id, Direction::Undo)?,
        plan_id: undo.plan_id.clone(),
        deadline: milliseconds(undo.deadline_ms),
        work: Work::Undo { of: id(&undo.of_action_id, Direction::Do)? },
    })
}

fn id(written: &str, direction: Direction) -> Result<ActionId, String> {
    let id: ActionId = written.parse().map_err(text)?;
    if id.direction == direction {
        Ok(id)
    } else {
        Err(format!("the action id `{id}` is of the other direction"))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(u64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DO: &str = "run-0192aabbccddeeff0011223344556677/compute1.mask/do/1";
    const UNDO: &str = "run-0192aabbccddeeff0011223344556677/compute1.mask/undo/1";

    fn said(message: Message) -> Command {
        read(v1::LinkResponse { message: Some(message) })
    }

    fn undo(action_id: &str, of: &str) -> Command {
        said(Message::Undo(v1::Undo {
            epoch: 3,
            action_id: action_id.to_owned(),
            of_action_id: of.to_owned(),
            deadline_ms: 1500,
            plan_id: "p".to_owned(),
        }))
    }

    #[test]
    fn an_undo_names_what_it_takes_back() {
        let Command::Do(order) = undo(UNDO, DO) else { panic!() };
        assert_eq!((order.epoch, order.deadline), (Epoch(3), Duration::from_millis(1500)));
        assert_eq!(order.work, Work::Undo { of: DO.parse().unwrap() });
        for (id, of) in [(DO, DO), (UNDO, UNDO), (UNDO, "x"), ("x", DO)] {
            assert!(matches!(undo(id, of), Command::BadOrder { .. }), "{id} {of}");
        }
    }

    #[test]
    fn what_a_newer_coordinator_means_is_not_guessed() {
        let execute = v1::Execute { epoch: 1, action_id: DO.to_owned(), ..v1::Execute::default() };
        assert!(
            matches!(said(Message::Execute(execute)), Command::BadOrder { action_id, .. } if action_id == DO)
        );
        let empty = v1::Execute {
            action: Some(v1::Action { action: None }),
            action_id: DO.to_owned(),
            ..v1::Execute::default()
        };
        assert!(matches!(said(Message::Execute(empty)), Command::BadOrder { .. }));
        let ask = v1::ReadingRequest { ask_id: 9, ..v1::ReadingRequest::default() };
        assert!(matches!(said(Message::Reading(ask)), Command::BadAsk { ask_id: 9, .. }));
        assert_eq!(read(v1::LinkResponse { message: None }), Command::Unknown);
    }
}
