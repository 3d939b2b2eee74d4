//! Whose request it is: an operator's token, looked at before any service sees the request, or
//! else the certificate that the connection came in by.

use std::sync::Arc;

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};
use trust::{Door, Holder};

use crate::incoming::CertificateName;

/// Who asks; nobody in particular where no token is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Actor {
    /// By the token.
    pub(crate) holder: Option<Arc<Holder>>,
    /// By the certificate.
    certificate: Option<Arc<str>>,
}

impl Actor {
    /// Who sent a request that came through a [`Doorkeeper`].
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Their name, for the record of what they did; empty for nobody in particular.
    pub(crate) fn name(&self) -> String {
        let held = self.holder.as_ref().map(|holder| &holder.name);
        held.or(self.certificate.as_ref()).map_or_else(String::new, ToString::to_string)
    }
}

/// Lets requests through that show a token that is good now.
#[derive(Debug, Clone)]
pub(crate) struct Doorkeeper(pub(crate) Door);

impl Interceptor for Doorkeeper {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let admitted = self.0.admit(authorization(request.metadata()));
        let holder = admitted.map_err(|refused| {
            metrics::counter!("muster_control_unauthenticated_total").increment(1);
            Status::unauthenticated(refused.to_string())
        })?;
        let certificate = request.extensions().get::<CertificateName>();
        let certificate = certificate.and_then(|name| name.0.clone());
        request.extensions_mut().insert(Actor { holder, certificate });
        Ok(request)
    }
}

fn authorization(metadata: &MetadataMap) -> Option<&[u8]> {
    metadata.get("authorization").map(|value| value.as_encoded_bytes())
}
