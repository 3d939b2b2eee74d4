//! Service Assignments.

use std::cmp::Reverse;

use bus::Subject;
use bus::v1::IntentChanged;
use model::RevisionRef;
use model::assign::{Assignment, Assignments, Content};
use model::brake::Brake;
use tonic::{Request, Response, Status, async_trait};

use super::agents::parse_selector;
use super::{Api, convert, names};
use crate::Error;
use crate::actor::Actor;
use crate::v1::{
    self, DeleteAssignmentRequest, DeleteAssignmentResponse, HoldOffersRequest, HoldOffersResponse,
    ListAssignmentsRequest, ListAssignmentsResponse, ResumeOffersRequest, ResumeOffersResponse,
    SetAssignmentRequest, SetAssignmentResponse, assignments_server,
};
use crate::view::Impact;

/// Bytes of the reason for a hold: a sentence or two.
const REASON_BYTES_MAX: usize = 1024;
/// Stages that an assignment may go through at most.
const STAGES: usize = 3;

#[async_trait]
impl assignments_server::Assignments for Api {
    async fn set_assignment(
        &self,
        request: Request<SetAssignmentRequest>,
    ) -> Result<Response<SetAssignmentResponse>, Status> {
        let actor = Actor::of(&request);
        Ok(Response::new(self.set(request.into_inner(), &actor).await?))
    }

    async fn list_assignments(
        &self,
        _: Request<ListAssignmentsRequest>,
    ) -> Result<Response<ListAssignmentsResponse>, Status> {
        let (mut assignments, _) = self.ledger.assignments().await?;
        let tallies = self.view.tallies(&assignments);
        assignments
            .list
            .sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
        let shown = |found: &Assignment| convert::assignment(found, tallies.get(&found.name));
        let list = assignments.list.iter().map(shown).collect();
        let hold = assignments.hold.as_ref().map(convert::hold);
        Ok(Response::new(ListAssignmentsResponse { assignments: list, hold }))
    }

    async fn delete_assignment(
        &self,
        request: Request<DeleteAssignmentRequest>,
    ) -> Result<Response<DeleteAssignmentResponse>, Status> {
        let name = names::parse("name", &request.get_ref().name, "assignments")?;
        let decision = self.ledger.delete_assignment(name).await?;
        tracing::info!(actor = Actor::of(&request).name(), name, decision, "assignment removed");
        self.announce(decision).await;
        Ok(Response::new(DeleteAssignmentResponse {}))
    }

    async fn hold_offers(
        &self,
        request: Request<HoldOffersRequest>,
    ) -> Result<Response<HoldOffersResponse>, Status> {
        let reason = &request.get_ref().reason;
        if reason.len() > REASON_BYTES_MAX {
            let long = format!("{} bytes, at most {REASON_BYTES_MAX}", reason.len());
            return Err(Error::invalid("reason", long).into());
        }
        let (hold, decision) = self.ledger.hold(reason, &Actor::of(&request)).await?;
        self.announce(decision).await;
        tracing::warn!(reason, actor = hold.actor, "offers are held");
        let waiting_agents = self.waiting().await?;
        Ok(Response::new(HoldOffersResponse { hold: Some(convert::hold(&hold)), waiting_agents }))
    }

    async fn resume_offers(
        &self,
        request: Request<ResumeOffersRequest>,
    ) -> Result<Response<ResumeOffersResponse>, Status> {
        let waiting_agents = self.waiting().await?;
        let decision = self.ledger.resume().await?;
        self.announce(decision).await;
        tracing::warn!(actor = Actor::of(&request).name(), "offers go out again");
        Ok(Response::new(ResumeOffersResponse { waiting_agents }))
    }
}

impl Api {
    async fn set(
        &self,
        request: SetAssignmentRequest,
        actor: &Actor,
    ) -> Result<SetAssignmentResponse, Error> {
        // The answer says whom it concerns, and only a whole view can tell.
        self.check_view()?;
        let wanted =
            request.assignment.ok_or_else(|| Error::invalid("assignment", "must be given"))?;
        let name = names::parse("assignment.name", &wanted.name, "assignments")?;
        let selector = parse_selector("assignment.selector", &wanted.selector)?;
        let content = self.content(&wanted).await?;
        let assignment = Assignment {
            name: name.to_owned(),
            selector: selector.clone(),
            content,
            priority: wanted.priority,
            updated: self.ledger.clock.now(),
            brake: Brake::new(
                not_negative("assignment.max_in_flight", wanted.max_in_flight)?,
                not_negative("assignment.max_failures", wanted.max_failures)?,
            ),
            actor: actor.name(),
        };
        let decide = |before: &Assignments| self.judge(before, assignment.clone());
        let (after, impact) = if request.validate_only {
            decide(&self.ledger.assignments().await?.0)?
        } else {
            let (after, decision, impact) = self.ledger.decide(decide).await?;
            self.announce(decision).await;
            (after, impact)
        };
        let tallies = self.view.tallies(&after);
        let set = after.list.iter().find(|found| found.name == name);
        Ok(SetAssignmentResponse {
            assignment: set.map(|set| convert::assignment(set, tallies.get(name))),
            matched_agents: convert::count(self.view.selected(&selector).len()),
            affected_agents: convert::count(impact.agents),
            impact: Some(convert::impact(&impact)),
        })
    }

    /// What an assignment is to give.
    async fn content(&self, wanted: &v1::Assignment) -> Result<Content, Error> {
        let revisions =
            [&wanted.config_revision, &wanted.package_set_revision, &wanted.settings_revision];
        if revisions.iter().filter(|name| !name.is_empty()).count() > 1 {
            let reason = "an assignment gives one thing: leave package_set_revision and \
                          settings_revision empty, or this and the other";
            return Err(Error::invalid("assignment.config_revision", reason));
        }
        if !wanted.package_set_revision.is_empty() {
            let (field, name) = ("assignment.package_set_revision", &wanted.package_set_revision);
            let (set, which) = names::parse_revision_in(field, name, "packageSets")?;
            return Ok(Content::Packages(self.ledger.pinned_package_set(set, which).await?));
        }
        if !wanted.settings_revision.is_empty() {
            let (field, name) = ("assignment.settings_revision", &wanted.settings_revision);
            let (settings, which) = names::parse_revision_in(field, name, "connectionSettings")?;
            return Ok(Content::Settings(self.ledger.settings(settings, which).await?));
        }
        let field = "assignment.config_revision";
        let (config, which) = names::parse_revision(field, &wanted.config_revision)?;
        let revision = self.ledger.revision(config, which).await?;
        let (config, revision, hash) = (config.to_owned(), revision.number, revision.hash);
        Ok(Content::Config(RevisionRef { config, revision, hash }))
    }

    /// The assignments with a new one, whose first agents are let through at once, and what that
    /// does to the fleet.
    fn judge(
        &self,
        before: &Assignments,
        assignment: Assignment,
    ) -> Result<(Assignments, Impact), Error> {
        let name = assignment.name.clone();
        let mut after = self.ledger.with_assignment(before, assignment)?;
        let impact = self.view.impact(before, &after);
        // Who is let through is in flight, which may end the matter at once.
        for _ in 0..STAGES {
            let tally = self.view.tallies(&after).remove(&name).unwrap_or_default();
            let set = after.list.iter_mut().find(|found| found.name == name);
            match set.and_then(|set| set.brake.next(&tally).map(|stage| (set, stage))) {
                Some((set, stage)) => set.brake.stage = stage,
                None => break,
            }
        }
        Ok((after, impact))
    }

    async fn waiting(&self) -> Result<i64, Error> {
        let (assignments, _) = self.ledger.assignments().await?;
        Ok(convert::count(self.view.waiting(&assignments)))
    }

    /// Tells reconcilers and workers, and gives workers a moment to know it, so that an agent
    /// that speaks after the operator was answered is mostly offered the right thing at once. The
    /// decision stands in any case; unheard, it is found by the next look.
    async fn announce(&self, decision: u64) {
        self.decided.tell(decision);
        let changed = IntentChanged { decision };
        let heard = self.bus.request(&Subject::Intent, &changed, self.limits.announce_timeout);
        if let Err(error) = heard.await {
            tracing::warn!(%error, decision, "no worker confirmed the decision");
        }
    }
}

fn not_negative(field: &'static str, number: i32) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| Error::invalid(field, "must not be negative"))
}
