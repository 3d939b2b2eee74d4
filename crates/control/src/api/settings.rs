//! Service ConnectionSettings. What is secret goes into the ledger sealed and into no answer.

use model::Random;
use model::connection::{Certificate, Kept, KeptRevision, Rules, Settings};
use model::settings::Class;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, convert, names, page};
use crate::Error;
use crate::actor::Actor;
use crate::ledger::settings::Checked;
use crate::v1::{self, connection_settings_server};

const COLLECTION: &str = "connectionSettings";

/// The settings in a request, and in an answer.
type Asked = v1::apply_connection_settings_request::Settings;
type Told = v1::connection_settings_revision::Settings;

#[async_trait]
impl connection_settings_server::ConnectionSettings for Api {
    async fn apply_connection_settings(
        &self,
        request: Request<v1::ApplyConnectionSettingsRequest>,
    ) -> Result<Response<v1::ConnectionSettingsRevision>, Status> {
        let (actor, request) = (Actor::of(&request), request.into_inner());
        let name = names::parse("name", &request.name, COLLECTION)?.to_owned();
        let checked = checked(request, self.ledger.clock.now().0 / 1000)?;
        let random: &dyn Random = &*self.random;
        let applied = self.ledger.apply_settings(&name, &checked, &actor, random).await?;
        Ok(Response::new(revision(&name, &applied.0, &applied.1)))
    }

    async fn get_connection_settings(
        &self,
        request: Request<v1::GetConnectionSettingsRequest>,
    ) -> Result<Response<v1::NamedConnectionSettings>, Status> {
        let name = names::parse("name", &request.get_ref().name, COLLECTION)?;
        Ok(Response::new(named(&self.ledger.kept_settings(name).await?)))
    }

    async fn list_connection_settings(
        &self,
        request: Request<v1::ListConnectionSettingsRequest>,
    ) -> Result<Response<v1::ListConnectionSettingsResponse>, Status> {
        let request = request.get_ref();
        let asked = (request.page_size, &*request.page_token);
        let all = self.ledger.all_settings().await?;
        let (page, next_page_token) = page::of(all, asked, COLLECTION, &self.limits)?;
        let connection_settings = page.iter().map(named).collect();
        Ok(Response::new(v1::ListConnectionSettingsResponse {
            connection_settings,
            next_page_token,
        }))
    }

    async fn delete_connection_settings(
        &self,
        request: Request<v1::DeleteConnectionSettingsRequest>,
    ) -> Result<Response<v1::DeleteConnectionSettingsResponse>, Status> {
        let name = names::parse("name", &request.get_ref().name, COLLECTION)?;
        self.ledger.delete_settings(name).await?;
        Ok(Response::new(v1::DeleteConnectionSettingsResponse {}))
    }
}

/// What a request asks for, if agents may be told it.
fn checked(request: v1::ApplyConnectionSettingsRequest, now_unix: u64) -> Result<Checked, Error> {
    let class = Class::parse(&request.class).ok_or_else(|| {
        let reason = "must be opamp, own-metrics, own-traces, own-logs or other/NAME";
        Error::invalid("class", reason)
    })?;
    let settings = match request.settings {
        Some(Asked::Opamp(settings)) => Settings::OpAmp(settings),
        Some(Asked::Telemetry(settings)) => Settings::Telemetry(settings),
        Some(Asked::Other(settings)) => Settings::Other(settings),
        None => return Err(Error::invalid("settings", "must be there")),
    };
    settings.check(&class, Rules { allow_http: request.allow_http })?;
    let certificate = settings.certificate().map(|it| certificate(it, now_unix)).transpose()?;
    Ok(Checked { class, settings, certificate })
}

/// What may be told of a certificate, if agents can use it.
fn certificate(
    certificate: &opamp::v1::TlsCertificate,
    now_unix: u64,
) -> Result<Certificate, Error> {
    let facts = trust::facts(&certificate.cert);
    let facts = facts.map_err(|reason| Error::invalid("certificate.cert", reason))?;
    trust::goes_with(&certificate.cert, &certificate.private_key)
        .map_err(|reason| Error::invalid("certificate.private_key", reason))?;
    if !facts.self_issued && certificate.ca_cert.is_empty() {
        let reason = "must be there: somebody else signed the certificate";
        return Err(Error::invalid("certificate.ca_cert", reason));
    }
    if !certificate.ca_cert.is_empty() {
        trust::facts(&certificate.ca_cert)
            .map_err(|reason| Error::invalid("certificate.ca_cert", reason))?;
    }
    if u64::try_from(facts.not_after).unwrap_or(0) <= now_unix {
        return Err(Error::invalid("certificate.cert", "is not good any more"));
    }
    let trust::CertificateFacts { subject, not_before, not_after, sha256, key_sha256, .. } = facts;
    Ok(Certificate { subject, not_before, not_after, sha256, key_sha256 })
}

fn named(kept: &Kept) -> v1::NamedConnectionSettings {
    let revisions = kept.revisions.iter();
    v1::NamedConnectionSettings {
        name: format!("{COLLECTION}/{}", kept.name),
        class: kept.class.to_string(),
        revisions: revisions.map(|it| revision(&kept.name, &kept.class, it)).collect(),
    }
}

fn revision(name: &str, class: &Class, kept: &KeptRevision) -> v1::ConnectionSettingsRevision {
    let told = Settings::decode(class, &kept.shown).map(|shown| match shown {
        Settings::OpAmp(settings) => Told::Opamp(settings),
        Settings::Telemetry(settings) => Told::Telemetry(settings),
        Settings::Other(settings) => Told::Other(settings),
    });
    v1::ConnectionSettingsRevision {
        name: format!("{COLLECTION}/{name}/revisions/{}", kept.number),
        revision: kept.number,
        class: class.to_string(),
        create_time: Some(convert::time(kept.created)),
        actor: kept.actor.clone(),
        hash: kept.hash.0.to_vec(),
        settings: told,
        certificate: kept.certificate.as_ref().map(|it| v1::CertificateFacts {
            subject: it.subject.clone(),
            not_before: Some(prost_types::Timestamp { seconds: it.not_before, nanos: 0 }),
            not_after: Some(prost_types::Timestamp { seconds: it.not_after, nanos: 0 }),
            sha256: it.sha256.to_vec(),
            key_sha256: it.key_sha256.to_vec(),
        }),
    }
}
