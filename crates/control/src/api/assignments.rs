//! Service Assignments.

use std::cmp::Reverse;

use bus::Subject;
use bus::v1::IntentChanged;
use model::RevisionRef;
use tonic::{Request, Response, Status, async_trait};

use super::agents::parse_selector;
use super::{Api, convert, names};
use crate::Error;
use crate::v1::{
    DeleteAssignmentRequest, DeleteAssignmentResponse, ListAssignmentsRequest,
    ListAssignmentsResponse, SetAssignmentRequest, SetAssignmentResponse, assignments_server,
};

#[async_trait]
impl assignments_server::Assignments for Api {
    async fn set_assignment(
        &self,
        request: Request<SetAssignmentRequest>,
    ) -> Result<Response<SetAssignmentResponse>, Status> {
        Ok(Response::new(self.set(request.into_inner()).await?))
    }

    async fn list_assignments(
        &self,
        _: Request<ListAssignmentsRequest>,
    ) -> Result<Response<ListAssignmentsResponse>, Status> {
        let (mut assignments, _) = self.ledger.assignments().await?;
        assignments
            .list
            .sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
        let assignments = assignments.list.iter().map(convert::assignment).collect();
        Ok(Response::new(ListAssignmentsResponse { assignments }))
    }

    async fn delete_assignment(
        &self,
        request: Request<DeleteAssignmentRequest>,
    ) -> Result<Response<DeleteAssignmentResponse>, Status> {
        let name = names::parse("name", &request.get_ref().name, "assignments")?;
        let decision = self.ledger.delete_assignment(name).await?;
        self.announce(decision).await;
        Ok(Response::new(DeleteAssignmentResponse {}))
    }
}

impl Api {
    async fn set(&self, request: SetAssignmentRequest) -> Result<SetAssignmentResponse, Error> {
        // The answer says whom it concerns, and only a whole view can tell.
        self.check_view()?;
        let wanted =
            request.assignment.ok_or_else(|| Error::invalid("assignment", "must be given"))?;
        let name = names::parse("assignment.name", &wanted.name, "assignments")?;
        let selector = parse_selector("assignment.selector", &wanted.selector)?;
        let field = "assignment.config_revision";
        let (config, which) = names::parse_revision(field, &wanted.config_revision)?;
        let revision = self.ledger.revision(config, which).await?;
        let config = RevisionRef {
            config: config.to_owned(),
            revision: revision.number,
            hash: revision.hash,
        };
        let preview = |assignments: &_| self.view.preview(&selector, assignments);
        let (assignment, decision, (matched, affected)) =
            self.ledger.set_assignment(name, &selector, &config, wanted.priority, preview).await?;
        self.announce(decision).await;
        Ok(SetAssignmentResponse {
            assignment: Some(convert::assignment(&assignment)),
            matched_agents: i64::try_from(matched).unwrap_or(i64::MAX),
            affected_agents: i64::try_from(affected).unwrap_or(i64::MAX),
        })
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
