//! Credentials, as operators see and decide about them.

use control::v1::agents_client::AgentsClient;
use control::v1::credential::State;
use control::v1::credentials_client::CredentialsClient;
use control::v1::*;
use opamp::InstanceUid;
use tonic::transport::Channel;

use super::{Fleet, PATIENCE};

fn name(uid: InstanceUid) -> String {
    format!("credentials/{uid}")
}

impl Fleet {
    fn keeper(&self) -> CredentialsClient<Channel> {
        CredentialsClient::new(self.channel.clone())
    }

    /// Makes a token that enrolls agents.
    pub(crate) async fn enrollment_token(&self, token: EnrollmentToken) -> String {
        let request = CreateEnrollmentTokenRequest { enrollment_token: Some(token) };
        self.keeper().create_enrollment_token(request).await.unwrap().into_inner().token
    }

    /// Waits until an agent's credential is as it should be.
    pub(crate) async fn until_credential(
        &self,
        uid: InstanceUid,
        holds: impl Fn(&Credential) -> bool,
    ) -> Credential {
        let mut last = None;
        let waiting = async {
            loop {
                let request = GetCredentialRequest { name: name(uid) };
                last = self.keeper().get_credential(request).await.ok().map(|it| it.into_inner());
                if let Some(credential) = last.as_ref().filter(|it| holds(it)) {
                    return credential.clone();
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(credential) => credential,
            Err(_) => panic!("waited in vain; the credential is {last:#?}"),
        }
    }

    /// All credentials in a state.
    pub(crate) async fn credentials(&self, state: State) -> Vec<Credential> {
        let request = ListCredentialsRequest { state: state.into(), ..Default::default() };
        self.keeper().list_credentials(request).await.unwrap().into_inner().credentials
    }

    pub(crate) async fn approve_credential(&self, uid: InstanceUid) {
        let request = ApproveCredentialRequest { name: name(uid) };
        self.keeper().approve_credential(request).await.unwrap();
    }

    pub(crate) async fn rotate_credential(&self, uid: InstanceUid) {
        let request = RotateCredentialRequest { name: name(uid) };
        self.keeper().rotate_credential(request).await.unwrap();
    }

    pub(crate) async fn revoke_credential(&self, uid: InstanceUid) {
        let request = RevokeCredentialRequest { name: name(uid) };
        self.keeper().revoke_credential(request).await.unwrap();
    }

    pub(crate) async fn reset_credential(&self, uid: InstanceUid) {
        let request = ResetCredentialRequest { name: name(uid) };
        self.keeper().reset_credential(request).await.unwrap();
    }

    /// Has an agent's record deleted.
    pub(crate) async fn forget(&self, uid: InstanceUid) {
        let request = DeleteAgentRequest { name: format!("agents/{uid}") };
        AgentsClient::new(self.channel.clone()).delete_agent(request).await.unwrap();
    }
}
