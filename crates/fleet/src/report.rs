//! Reports as they come over the bus: into jobs, and results back into answers.

use std::time::Duration;

use bus::v1::{Report, ReportReply, Transport, report_reply};
use bytes::Bytes;
use model::credential::Refusal;
use model::record::Owner;
use model::session::{self, Outcome, Reply, Rival};
use model::{AgentRecord, GatewayId, SessionId, Timestamp};
use opamp::InstanceUid;
use opamp::v1::AgentToServer;
use prost::Message as _;
use store::Presence;

use crate::engine::{Done, Engine};
use crate::job::{Job, Origin, What};
use crate::{Error, presence, reply};

/// A report that was understood.
#[derive(Debug)]
pub(crate) struct Understood {
    pub(crate) job: Job,
    /// What a poll leaves in presence.
    pub(crate) poll: Option<Presence>,
}

impl Engine {
    /// Turns a report into a job, or answers it at once.
    pub(crate) async fn understand(
        &self,
        report: Report,
        deadline: Option<Timestamp>,
    ) -> Result<Understood, ReportReply> {
        let message = AgentToServer::decode(report.message)
            .map_err(|error| unavailable(&format!("message cannot be decoded: {error}")))?;
        let Ok(uid) = InstanceUid::try_from(&message.instance_uid[..]) else {
            return Err(self.identify(&message).await);
        };
        if let Some(pause) = self.poison.pause(&uid, self.clock.now()) {
            return Err(put_off(report.epoch, &message.instance_uid, pause));
        }
        let sequence_num = message.sequence_num;
        let message = Box::new(message);
        let polls = report.transport == i32::from(Transport::Http);
        let poll = polls.then(|| Presence {
            instance_uid: uid,
            epoch: 0,
            sequence_num,
            seen: self.clock.now(),
        });
        let from = Origin {
            remote_address: report.remote_address,
            token_name: report.token_name,
            enrollment_token: report.enrollment_token,
            credential_serial: report.credential_serial,
            credential_uid: InstanceUid::try_from(&report.credential_uid[..]).ok(),
        };
        let what = if polls {
            What::Poll { from, message }
        } else {
            let owner = owner(&report.gateway_id, &report.session_id)?;
            let (epoch, n) = (report.epoch, report.n);
            match epoch {
                0 => {
                    let (rival, floor) = (Rival::Unknown, report.epoch_floor);
                    What::Claim { owner, rival, floor, from, message }
                }
                _ => What::Report {
                    owner,
                    epoch,
                    n,
                    answered: report.answered_sequence_num,
                    message,
                },
            }
        };
        Ok(Understood { job: Job { uid, what, deadline }, poll })
    }

    /// A uid of another length can only ask for a proper one.
    async fn identify(&self, message: &AgentToServer) -> ReportReply {
        if !session::requests_uid(message) {
            return unavailable("instance_uid is not 16 bytes");
        }
        let uid = model::seams::new_uid(&*self.clock, &*self.random);
        let reply = session::identification(uid);
        match self.note_assigned(&[uid]).await {
            Ok(()) => {
                let none = AgentRecord::new(uid, self.clock.now());
                accepted(
                    &none,
                    &reply,
                    reply::message(&message.instance_uid, &reply, &Bytes::new()),
                    Bytes::new(),
                )
            }
            Err(error) => unavailable(&error.to_string()),
        }
    }

    /// Remembers uids given out, so that an agent that asks again under one gets no other.
    pub(crate) async fn note_assigned(&self, uids: &[InstanceUid]) -> Result<(), Error> {
        if uids.is_empty() {
            return Ok(());
        }
        let seen = self.clock.now();
        let entry =
            |uid: &InstanceUid| Presence { instance_uid: *uid, epoch: 0, sequence_num: 0, seen };
        let entries: Vec<Presence> = uids.iter().map(entry).collect();
        Ok(self.records.put_presence(presence::ASSIGNED, &entries).await?)
    }
}

/// The session a message names.
pub(crate) fn owner(gateway_id: &str, session_id: &[u8]) -> Result<Owner, ReportReply> {
    let session = session_id.try_into().map_err(|_| unavailable("session_id is not 16 bytes"))?;
    Ok(Owner { gateway: GatewayId::new(gateway_id), session: SessionId(session) })
}

/// What the gateway is told; `None` if nobody waits for it.
pub(crate) fn answer(uid: &InstanceUid, result: &Result<Done, Error>) -> Option<ReportReply> {
    match result {
        Ok(Done { outcome: Outcome::Reply(reply), offers, record, .. }) => {
            let message = reply::message(uid.as_bytes(), reply, &offers.clear);
            Some(accepted(record, reply, message, offers.sealed.clone()))
        }
        Ok(Done { outcome: Outcome::Stale, .. }) => {
            let stale = report_reply::Stale {};
            Some(ReportReply { outcome: Some(report_reply::Outcome::Stale(stale)) })
        }
        // The agent changed hands while its holder was being asked: ask again from the start.
        Ok(Done { outcome: Outcome::Contested { .. }, .. }) => Some(unavailable("contested")),
        Ok(Done { outcome: Outcome::Refused(refusal), .. }) => Some(refused(uid, *refusal)),
        Ok(Done { outcome: Outcome::Silence | Outcome::Handed(_), .. }) => None,
        Err(error) => Some(unavailable(&error.to_string())),
    }
}

/// The message, and the decisions that made the offers in it.
fn accepted(record: &AgentRecord, reply: &Reply, message: Bytes, sealed: Bytes) -> ReportReply {
    let (offers, epoch) = (&reply.offers, reply.epoch);
    let decision = |offered: bool, decision: u64| if offered { decision } else { 0 };
    let accepted = report_reply::Accepted {
        epoch,
        message,
        refused: false,
        offer_decision: decision(offers.config.is_some(), record.offered.decision),
        settings_decision: decision(offers.settings.is_some(), record.settings.decision),
        packages_decision: decision(offers.packages.is_some(), record.packages.decision),
        sealed_offers: sealed,
    };
    ReportReply { outcome: Some(report_reply::Outcome::Accepted(accepted)) }
}

/// The agent is not heard.
fn refused(uid: &InstanceUid, refusal: Refusal) -> ReportReply {
    metrics::counter!("muster_fleet_refused_total").increment(1);
    let message = reply::refused(uid.as_bytes(), &refusal.to_string());
    let accepted = report_reply::Accepted { message, refused: true, ..Default::default() };
    ReportReply { outcome: Some(report_reply::Outcome::Accepted(accepted)) }
}

/// Nothing is done about this message for so long.
fn put_off(epoch: u64, instance_uid: &[u8], pause: Duration) -> ReportReply {
    metrics::counter!("muster_fleet_put_off_total").increment(1);
    let message = reply::put_off(instance_uid, pause);
    let accepted = report_reply::Accepted { epoch, message, refused: true, ..Default::default() };
    ReportReply { outcome: Some(report_reply::Outcome::Accepted(accepted)) }
}

/// Nothing was stored.
pub(crate) fn unavailable(reason: &str) -> ReportReply {
    let unavailable = report_reply::Unavailable { reason: reason.to_owned() };
    ReportReply { outcome: Some(report_reply::Outcome::Unavailable(unavailable)) }
}
