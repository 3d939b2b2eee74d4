//! Requests sent, and what their answers mean.

use bus::v1::{self as wire, commanded, gateway_reply, handover_reply};
use bus::{Client, Subject};
use model::command::{Answer, CommandId};

use super::driven::{Answered, Outcome};
use super::outgoing::{Ask, Asked};
use crate::Limits;

/// Sends a request and waits for what becomes of it.
pub(super) async fn ask(
    bus: Client,
    limits: Limits,
    command: CommandId,
    ask: Ask,
) -> Vec<Answered> {
    let answered = |asked: &Asked, outcome| Answered {
        command,
        uid: asked.uid,
        attempt: asked.attempt,
        outcome,
    };
    match ask {
        Ask::Gateway { gateway, targets, request, wait } => {
            let reply = bus.request(&Subject::Gateway(gateway), &request, wait).await;
            let outcomes = outcomes(reply, targets.len());
            let each = targets.iter().zip(outcomes);
            each.map(|(asked, answer)| answered(asked, Outcome::Answer(answer))).collect()
        }
        Ask::Record { target, request } => {
            let withdraw = request.withdraw;
            let reply = bus.request(&Subject::Command, &request, limits.worker_timeout).await;
            let outcome = match withdraw {
                true => withdrawn(reply),
                false => Some(handed(reply)),
            };
            outcome.map(|outcome| answered(&target, outcome)).into_iter().collect()
        }
    }
}

/// One answer per target, whatever came.
fn outcomes(reply: Result<wire::GatewayReply, bus::Error>, targets: usize) -> Vec<Answer> {
    match reply.map(|reply| reply.reply) {
        Ok(Some(gateway_reply::Reply::Commanded(commanded)))
            if commanded.outcomes.len() == targets =>
        {
            commanded.outcomes.into_iter().map(outcome).collect()
        }
        // It does not understand what it was asked: nobody knows.
        Ok(_) => vec![Answer::Silence; targets],
        Err(error) => vec![failure(&error); targets],
    }
}

fn outcome(number: i32) -> Answer {
    use commanded::Outcome;
    match Outcome::try_from(number) {
        Ok(Outcome::Sent) => Answer::Sent,
        Ok(Outcome::Delivered) => Answer::Delivered,
        Ok(Outcome::NotOwner) => Answer::NotOwner,
        Ok(Outcome::Busy) => Answer::Busy,
        Ok(Outcome::Late) => Answer::Late,
        Ok(Outcome::Broken) => Answer::Broken,
        Ok(Outcome::Unspecified) | Err(_) => Answer::Silence,
    }
}

fn failure(error: &bus::Error) -> Answer {
    match error {
        bus::Error::NoResponder(_) => Answer::NoOne,
        bus::Error::Unavailable(_) | bus::Error::Refused(_) | bus::Error::TooLarge { .. } => {
            Answer::NoBus
        }
        bus::Error::TimedOut(_) | bus::Error::Malformed { .. } | bus::Error::OutOfRange { .. } => {
            Answer::Silence
        }
    }
}

/// A record may be asked again: what it has it does not take twice.
fn handed(reply: Result<wire::HandoverReply, bus::Error>) -> Outcome {
    use handover_reply::Outcome as Said;
    match reply.map(|reply| reply.outcome()) {
        Ok(Said::Taken) => Outcome::Took,
        Ok(Said::NotPolling) => Outcome::Answer(Answer::NotPolling),
        Ok(Said::Full) => Outcome::Answer(Answer::Full),
        Ok(Said::Unspecified | Said::Withdrawn) | Err(_) => Outcome::Again,
    }
}

/// Only a clear word counts: the driver asks again for what it does not know.
fn withdrawn(reply: Result<wire::HandoverReply, bus::Error>) -> Option<Outcome> {
    let given_back = handover_reply::Outcome::Withdrawn;
    let reply = reply.ok().filter(|reply| reply.outcome() == given_back);
    reply.map(|_| Outcome::Answer(Answer::Withdrawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(outcomes: Vec<i32>) -> Result<wire::GatewayReply, bus::Error> {
        let commanded = gateway_reply::Reply::Commanded(wire::Commanded { outcomes });
        Ok(wire::GatewayReply { reply: Some(commanded) })
    }

    #[test]
    fn what_was_not_answered_clearly_is_not_taken_for_unsent() {
        assert_eq!(outcomes(reply(vec![2, 3]), 2), [Answer::Delivered, Answer::NotOwner]);
        assert_eq!(outcomes(reply(vec![3]), 2), [Answer::Silence; 2], "one is missing");
        assert_eq!(outcomes(reply(vec![99]), 1), [Answer::Silence], "of a newer gateway");
        assert_eq!(outcomes(Ok(wire::GatewayReply { reply: None }), 1), [Answer::Silence]);
        let subject = || "gateway.g1".to_owned();
        assert_eq!(outcomes(Err(bus::Error::NoResponder(subject())), 1), [Answer::NoOne]);
        assert_eq!(outcomes(Err(bus::Error::TimedOut(subject())), 1), [Answer::Silence]);
    }
}
