//! The registrar: who is enrolled by what, what is good no more, and what is renewed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::v1::{Reassess, ReassessReply, RollRequest};
use bus::{Subject, WORKERS};
use control::v1::credential::State;
use control::v1::credentials_client::CredentialsClient;
use control::v1::enrollment_token::Approval;
use control::v1::*;
use model::AgentRecord;
use model::credential::{Admission, Standing};
use store::Store as _;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;
use trust::Vault;

use crate::rig::{PATIENCE, Rig, Watched, connected, until};

/// Long enough that credentials are looked through every two seconds.
const LIFETIME: Duration = Duration::from_secs(90);

/// A control with a vault, and workers that are played: they say yes, and what they were asked is
/// noted.
struct House {
    rig: Rig,
    asked: Arc<Mutex<Vec<Reassess>>>,
    _playing: JoinSet<()>,
}

impl House {
    async fn new() -> Self {
        let config = control::Config {
            vault: Some(Arc::new(Vault::from_key(&[1; 32]))),
            credential_lifetime: Some(LIFETIME),
            ..Default::default()
        };
        let (records, ledger) = (Watched::default(), Watched::default());
        let rig =
            Rig::configured(Default::default(), Default::default(), records, ledger, config).await;
        until("the view is ready", async || rig.control.ready()).await;
        let asked = Arc::<Mutex<Vec<Reassess>>>::default();
        let mut inbox = rig.bus.join(&Subject::Reassess, WORKERS, 64).await.unwrap();
        let (mut playing, noted) = (JoinSet::new(), asked.clone());
        playing.spawn(async move {
            while let Some(received) = inbox.next().await {
                let (ask, responder): (Reassess, _) = received.split();
                noted.lock().unwrap().push(ask);
                responder.send(&ReassessReply::default()).await;
            }
        });
        Self { rig, asked, _playing: playing }
    }

    fn client(&self) -> CredentialsClient<Channel> {
        CredentialsClient::new(self.rig.channel.clone())
    }

    async fn token(&self, name: &str, uses_max: i64, approval: Approval) {
        let (name, approval) = (format!("enrollmentTokens/{name}"), approval.into());
        let labels = [("env".to_owned(), "prod".to_owned())].into();
        let token = EnrollmentToken { name, uses_max, approval, labels, ..Default::default() };
        let request = CreateEnrollmentTokenRequest { enrollment_token: Some(token) };
        self.client().create_enrollment_token(request).await.unwrap();
    }

    /// An agent is seen that came like this.
    async fn sees(&self, byte: u8, by: &str, shown: u64, standing: Standing) {
        let admission = Admission { by: by.to_owned(), shown, standing };
        let admission = Some(Box::new(admission));
        self.rig.commit(&AgentRecord { admission, ..connected(byte, "prod") }).await;
    }

    async fn all(&self, state: State) -> Vec<Credential> {
        let request = ListCredentialsRequest { state: state.into(), ..Default::default() };
        self.client().list_credentials(request).await.unwrap().into_inner().credentials
    }

    async fn credential(&self, byte: u8) -> Option<Credential> {
        let request = GetCredentialRequest { name: name(byte) };
        match self.client().get_credential(request).await {
            Ok(found) => Some(found.into_inner()),
            Err(status) => {
                assert_eq!(status.code(), Code::NotFound, "{status}");
                None
            }
        }
    }

    async fn credential_of(&self, byte: u8) -> bool {
        self.all(State::Active).await.iter().any(|it| it.name == name(byte))
    }

    async fn uses(&self, name: &str) -> i64 {
        let request = GetEnrollmentTokenRequest { name: format!("enrollmentTokens/{name}") };
        self.client().get_enrollment_token(request).await.unwrap().into_inner().uses
    }

    /// Whether gateways are told that a token lets nobody in any more.
    async fn is_spent(&self, name: &str) -> bool {
        let ask = RollRequest { changed: true, ..Default::default() };
        let reply = self.rig.bus.request(&Subject::Roll, &ask, PATIENCE).await.unwrap();
        let roll = reply.roll.unwrap();
        roll.enrollment.iter().any(|token| token.name == name && token.used_up)
    }

    /// Whether workers were told to read anew how an agent stands.
    fn was_told(&self, byte: u8) -> bool {
        let asked = self.asked.lock().unwrap();
        let is_told = |ask: &&Reassess| ask.credentials && ask.labels;
        asked.iter().filter(is_told).any(|ask| ask.instance_uids.contains(&vec![byte; 16].into()))
    }
}

fn name(byte: u8) -> String {
    format!("credentials/{}", opamp::InstanceUid::from_bytes([byte; 16]))
}

fn standing(serial: u64, proven: u64, version: u64) -> Standing {
    Standing { serial, proven, below: proven, version, ..Standing::default() }
}

#[tokio::test]
async fn a_token_enrolls_as_many_as_it_may_and_each_of_them_once() {
    let house = House::new().await;
    house.token("ci", 2, Approval::Automatic).await;
    for byte in 1..=3 {
        house.sees(byte, "enrollmentTokens/ci", 0, Standing::default()).await;
    }
    until("two are enrolled and one waits", async || {
        house.all(State::Active).await.len() == 2 && house.all(State::Pending).await.len() == 1
    })
    .await;
    until("workers are told", async || (1..=3).all(|byte| house.was_told(byte))).await;
    let enrolled = house.all(State::Active).await;
    assert!(enrolled.iter().all(|it| it.serial == 1 && it.enrollment == "enrollmentTokens/ci"));

    // Workers were not heard: it looks as if the same came again.
    house.asked.lock().unwrap().clear();
    for byte in 1..=3 {
        house.sees(byte, "enrollmentTokens/ci", 0, Standing::default()).await;
    }
    until("workers are told again", async || (1..=3).all(|byte| house.was_told(byte))).await;
    assert_eq!(house.all(State::Active).await, enrolled, "nobody gets another one");
    assert_eq!(house.uses("ci").await, 2);

    // Its gateway lets in who comes again, until all have their own.
    assert!(!house.is_spent("ci").await);
    house.sees(1, "", 1, standing(1, 0, 2)).await;
    until("one is there", async || house.credential(1).await.unwrap().proven_serial == 1).await;
    assert!(!house.is_spent("ci").await);
    house.sees(2, "", 1, standing(1, 0, 2)).await;
    house.sees(3, "", 1, standing(1, 0, 2)).await;
    until("nobody else is to come", async || house.is_spent("ci").await).await;
}

#[tokio::test]
async fn who_comes_by_what_is_not_there_or_not_good_waits() {
    let house = House::new().await;
    house.token("partners", 0, Approval::Manual).await;
    house.sees(1, "enrollmentTokens/partners", 0, Standing::default()).await;
    house.sees(2, "enrollmentTokens/gone", 0, Standing::default()).await;
    house.sees(3, &name(9), 0, Standing::default()).await;
    house.sees(4, "nonsense", 0, Standing::default()).await;
    until("all wait", async || house.all(State::Pending).await.len() == 4).await;
    let approve = ApproveCredentialRequest { name: name(1) };
    let approved = house.client().approve_credential(approve).await.unwrap().into_inner();
    assert_eq!(house.uses("partners").await, 1);
    assert_eq!((approved.state(), approved.serial), (State::Active, 1));
    // It was renamed by us, on the connection that it came in on with a credential.
    house.sees(5, &name(1), 0, Standing::default()).await;
    until("the renamed one is enrolled", async || house.all(State::Active).await.len() == 2).await;
    let error = house.client().rotate_credential(RotateCredentialRequest { name: name(2) }).await;
    assert_eq!(error.unwrap_err().code(), Code::FailedPrecondition);
    let error = house.client().revoke_credential(RevokeCredentialRequest { name: name(8) }).await;
    assert_eq!(error.unwrap_err().code(), Code::NotFound);
    let bad = GetCredentialRequest { name: "credentials/x".to_owned() };
    let error = house.client().get_credential(bad).await.unwrap_err();
    assert!(error.code() == Code::InvalidArgument && error.message().starts_with("name"));
}

#[tokio::test]
async fn an_agent_whose_credential_the_ledger_lost_can_be_reset() {
    let house = House::new().await;
    let reset = |byte| ResetCredentialRequest { name: name(byte) };
    let error = house.client().reset_credential(reset(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    house.sees(1, "", 7, standing(7, 7, 2)).await;
    let known = async || house.client().reset_credential(reset(1)).await.is_ok();
    until("the agent is seen", known).await;
    let found = house.credential(1).await.unwrap();
    assert_eq!((found.state(), found.oldest_good_serial), (State::Reset, 8));
}

#[tokio::test]
async fn one_that_cannot_be_read_does_not_hold_up_the_others() {
    let house = House::new().await;
    house.token("ci", 0, Approval::Automatic).await;
    let key = store::Key::credential(&opamp::InstanceUid::from_bytes([1; 16]));
    let broken = store::Write::next(key, store::Version::ABSENT, "not one".into());
    house.rig.ledger.inner.commit(vec![broken]).await.unwrap();
    house.sees(1, "enrollmentTokens/ci", 0, Standing::default()).await;
    house.sees(2, "enrollmentTokens/ci", 0, Standing::default()).await;
    house.sees(1, "", 3, standing(3, 0, 2)).await;
    until("the other is enrolled", async || house.credential_of(2).await).await;
    assert_eq!(house.uses("ci").await, 1);
}

#[tokio::test]
async fn what_was_shown_takes_the_older_back_and_is_renewed_in_time() {
    let house = House::new().await;
    house.token("ci", 0, Approval::Automatic).await;
    house.sees(1, "enrollmentTokens/ci", 0, Standing::default()).await;
    house.sees(2, "enrollmentTokens/ci", 0, Standing::default()).await;
    until("they are enrolled", async || house.all(State::Active).await.len() == 2).await;
    let rotate = RotateCredentialRequest { name: name(1) };
    house.client().rotate_credential(rotate).await.unwrap();
    assert_eq!(house.credential(1).await.unwrap().oldest_good_serial, 1, "both are good");
    house.sees(1, "", 2, standing(2, 0, 2)).await;
    until("the older one is not", async || {
        house.credential(1).await.unwrap().oldest_good_serial == 2
    })
    .await;
    let proven = house.credential(1).await.unwrap();
    assert_eq!((proven.proven_serial, proven.state()), (2, State::Active));

    house.rig.clock.pass(LIFETIME * 3 / 4);
    until("it is renewed", async || house.credential(1).await.unwrap().serial == 3).await;
    let renewed = house.credential(1).await.unwrap();
    assert_eq!(renewed.oldest_good_serial, 2, "the one in use is good until then");
    assert!(renewed.expire_time.unwrap().seconds > proven.expire_time.unwrap().seconds);
    assert_eq!(house.credential(2).await.unwrap().serial, 1, "it never came for the first");
}

/// A control over this ledger, with the vault's key in use and older ones.
async fn keyed(ledger: &Watched, newest: u8, older: &[u8]) -> Rig {
    let vault = older
        .iter()
        .fold(Vault::from_key(&[newest; 32]), |vault, key| vault.with_older(&[*key; 32]));
    let config = control::Config { vault: Some(Arc::new(vault)), ..Default::default() };
    let records = Watched::default();
    let ledger = ledger.clone();
    let rig =
        Rig::configured(Default::default(), Default::default(), records, ledger, config).await;
    until("the view is ready", async || rig.control.ready()).await;
    rig
}

#[tokio::test]
async fn the_fleet_s_key_outlives_the_vault_s() {
    let ledger = Watched::default();
    let issue = async |rig: &Rig| {
        let mut client: CredentialsClient<Channel> = CredentialsClient::new(rig.channel.clone());
        let request = IssueCredentialRequest { name: name(1), ..Default::default() };
        client.issue_credential(request).await.map(|issued| issued.into_inner().token)
    };
    let first = issue(&keyed(&ledger, 1, &[]).await).await.unwrap();
    assert!(issue(&keyed(&ledger, 2, &[]).await).await.is_err(), "another vault does not open it");
    let both = keyed(&ledger, 2, &[1]).await;
    let key = store::Key::fleet_key();
    until("it is sealed anew", async || {
        let stored = ledger.inner.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap();
        let held = store::tables::credentials::decode_key(&key, &stored.unwrap().value).unwrap();
        Vault::from_key(&[2; 32]).is_current(&held.value.sealed_seed)
    })
    .await;
    drop(both);
    let later = issue(&keyed(&ledger, 2, &[]).await).await.unwrap();
    let held = ledger.inner.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap();
    let public = store::tables::credentials::decode_key(&key, &held.value).unwrap();
    for token in [first, later] {
        assert!(trust::Credential::read(token.as_bytes(), &[public.value.public_key]).is_some());
    }
}

#[tokio::test]
async fn without_a_key_for_secrets_nothing_is_issued_and_the_flag_is_named() {
    let rig = Rig::new().await;
    let mut client: CredentialsClient<Channel> = CredentialsClient::new(rig.channel.clone());
    let request = IssueCredentialRequest { name: name(1), ..Default::default() };
    let error = client.issue_credential(request).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("--secrets-key"), "{error}");
}
