//! A NATS that knows its users by JWT, and credentials files for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::{Bus as _, NatsAccess};
use bytes::Bytes;
use nkeys::KeyPair;
use serde_json::{Value, json};
use services::Server;

use crate::locked::refused;
use crate::{connect_as, program};

/// Claims of a subject, signed by who vouches for it.
fn jwt(subject: &KeyPair, issuer: &KeyPair, name: &str, nats: &Value) -> String {
    let claims = json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": name,
        "sub": subject.public_key(), "nats": nats,
    });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// A server with one account, and the account's key.
fn server() -> (Server, KeyPair) {
    let (operator, account, system) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let claims = |kind: &str| json!({ "type": kind, "version": 2 });
    let any = json!({ "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1,
        "imports": -1, "exports": -1, "wildcards": true });
    let account_claims = json!({ "type": "account", "version": 2, "limits": any });
    let settings = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\n\
         resolver_preload: {{ {}: {}, {}: {} }}\n",
        jwt(&operator, &operator, "operator", &claims("operator")),
        system.public_key(),
        system.public_key(),
        jwt(&system, &operator, "system", &account_claims),
        account.public_key(),
        jwt(&account, &operator, "account", &account_claims),
    );
    (Server::nats_with(&settings).unwrap(), account)
}

/// A credentials file as NATS' own tools write it.
fn credentials(account: &KeyPair, seed_of: Option<&KeyPair>) -> NatsAccess {
    let user = KeyPair::new_user();
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let jwt = jwt(&user, account, "user", &claims);
    let seed = seed_of.unwrap_or(&user).seed().unwrap();
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    NatsAccess { credentials: Some(text), ..NatsAccess::default() }
}

#[tokio::test]
async fn a_credentials_file_lets_its_user_in_and_no_other() {
    if program().is_none() {
        return;
    }
    let (server, account) = server();
    let url = format!("nats://{}", server.address());
    let bus = connect_as(url.clone(), "a", credentials(&account, None)).await.unwrap();
    bus.publish("s", Bytes::new()).await.unwrap();
    let stranger = credentials(&KeyPair::new_account(), None);
    let said = refused(url.clone(), stranger).await;
    assert!(said.contains("refuses the credentials file"), "{said}");
    let stolen = credentials(&account, Some(&KeyPair::new_user()));
    let said = refused(url.clone(), stolen).await;
    assert!(said.contains("refuses the credentials file"), "{said}");
    let nonsense =
        NatsAccess { credentials: Some("wrong-secret".to_owned()), ..NatsAccess::default() };
    let said = refused(url, nonsense).await;
    assert!(said.contains("no user JWT"), "{said}");
}
