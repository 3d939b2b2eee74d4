//! Service Configs.

use std::collections::BTreeMap;

use opamp::v1::AgentConfigFile;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, convert, names, page};
use crate::actor::Actor;
use crate::v1::{
    ApplyConfigRequest, Config, ConfigRevision, GetConfigRequest, GetConfigRevisionRequest,
    ListConfigsRequest, ListConfigsResponse, configs_server,
};
use crate::{Error, syntax};

#[async_trait]
impl configs_server::Configs for Api {
    async fn apply_config(
        &self,
        request: Request<ApplyConfigRequest>,
    ) -> Result<Response<ConfigRevision>, Status> {
        let (actor, request) = (Actor::of(&request), request.into_inner());
        let name = names::parse("name", &request.name, "configs")?;
        self.check_files(&request)?;
        let revision = self.ledger.apply_config(name, request.files.clone(), &actor).await?;
        Ok(Response::new(convert::revision(name, &revision, BTreeMap::new())))
    }

    async fn get_config(
        &self,
        request: Request<GetConfigRequest>,
    ) -> Result<Response<Config>, Status> {
        let name = names::parse("name", &request.get_ref().name, "configs")?;
        Ok(Response::new(convert::config(&self.ledger.config(name).await?)))
    }

    async fn list_configs(
        &self,
        request: Request<ListConfigsRequest>,
    ) -> Result<Response<ListConfigsResponse>, Status> {
        let request = request.get_ref();
        let asked = (request.page_size, &*request.page_token);
        let all = self.ledger.configs().await?;
        let (page, next_page_token) = page::of(all, asked, "configs", &self.limits)?;
        let configs = page.iter().map(convert::config).collect();
        Ok(Response::new(ListConfigsResponse { configs, next_page_token }))
    }

    async fn get_config_revision(
        &self,
        request: Request<GetConfigRevisionRequest>,
    ) -> Result<Response<ConfigRevision>, Status> {
        let (name, which) = names::parse_revision("name", &request.get_ref().name)?;
        let revision = self.ledger.revision(name, which).await?;
        let files = self.ledger.files(&revision).await?;
        Ok(Response::new(convert::revision(name, &revision, files)))
    }
}

impl Api {
    fn check_files(&self, request: &ApplyConfigRequest) -> Result<(), Error> {
        let (files, limits) = (&request.files, &self.limits);
        let refuse = |reason: String| Err(Error::invalid("files", reason));
        let blank = |file: &AgentConfigFile| file.body.trim_ascii().is_empty();
        if !request.allow_empty && files.values().all(blank) {
            let reason = "must hold a file with something in it: an empty config stops a \
                          supervised collector; allow_empty takes it all the same";
            return refuse(reason.to_owned());
        }
        if files.len() > limits.files_max {
            return refuse(format!("{} files, at most {}", files.len(), limits.files_max));
        }
        if let Some(key) = files.keys().find(|key| key.len() > limits.key_bytes_max) {
            return refuse(format!("key of {} bytes, at most {}", key.len(), limits.key_bytes_max));
        }
        let size: usize = files
            .iter()
            .map(|(key, file)| {
                key.len() + file.body.len() + file.content_type.len() + file.role.len()
            })
            .sum();
        if size > limits.config_bytes_max {
            return refuse(format!("{size} bytes, at most {}", limits.config_bytes_max));
        }
        files.iter().try_for_each(|(key, file)| {
            let checked = syntax::check(file);
            checked.map_err(|fault| Error::invalid("files", format!("{key:?}: {fault}")))
        })
    }
}
