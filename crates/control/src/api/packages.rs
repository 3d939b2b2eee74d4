//! Service Packages: versions and sets of them, checked before they are kept.

use model::Timestamp;
use model::catalogue::{
    PackageFile, PackageKind, PackageSet, PackageVersion, SET_PACKAGES_MAX, SetRevision,
};
use model::packages::PackageHash;
use tonic::{Request, Response, Status, async_trait};

use super::agents::parse_selector;
use super::{Api, convert, names, page};
use crate::Error;
use crate::actor::Actor;
use crate::ledger::packages::full;
use crate::v1::{self, package_version as wire, packages_server};

const PACKAGES: &str = "packages";
const SETS: &str = "packageSets";

#[async_trait]
impl packages_server::Packages for Api {
    async fn create_package_version(
        &self,
        request: Request<v1::CreatePackageVersionRequest>,
    ) -> Result<Response<v1::PackageVersion>, Status> {
        let actor = Actor::of(&request).name();
        let asked = request.into_inner().package_version;
        let asked = asked.ok_or_else(|| Error::invalid("package_version", "must be there"))?;
        let version = PackageVersion { actor, ..wanted(&asked, self.ledger.clock.now())? };
        version.check().map_err(Error::from)?;
        Ok(Response::new(told(&self.ledger.create_package_version(version).await?)))
    }

    async fn get_package_version(
        &self,
        request: Request<v1::GetPackageVersionRequest>,
    ) -> Result<Response<v1::PackageVersion>, Status> {
        let (package, version) = parse("name", &request.get_ref().name)?;
        Ok(Response::new(told(&self.ledger.package_version(package, version).await?)))
    }

    async fn list_package_versions(
        &self,
        request: Request<v1::ListPackageVersionsRequest>,
    ) -> Result<Response<v1::ListPackageVersionsResponse>, Status> {
        let request = request.get_ref();
        let asked = (request.page_size, &*request.page_token);
        let all = self.ledger.package_versions().await?;
        let (page, next_page_token) = page::of(all, asked, PACKAGES, &self.limits)?;
        let package_versions = page.iter().map(told).collect();
        Ok(Response::new(v1::ListPackageVersionsResponse { package_versions, next_page_token }))
    }

    async fn delete_package_version(
        &self,
        request: Request<v1::DeletePackageVersionRequest>,
    ) -> Result<Response<v1::DeletePackageVersionResponse>, Status> {
        let (package, version) = parse("name", &request.get_ref().name)?;
        self.ledger.delete_package_version(package, version).await?;
        Ok(Response::new(v1::DeletePackageVersionResponse {}))
    }

    async fn apply_package_set(
        &self,
        request: Request<v1::ApplyPackageSetRequest>,
    ) -> Result<Response<v1::PackageSetRevision>, Status> {
        let (actor, request) = (Actor::of(&request), request.into_inner());
        let name = names::parse("name", &request.name, SETS)?;
        let packages = members(&request.package_versions)?;
        let applied = self.ledger.apply_package_set(name, packages, &actor).await?;
        Ok(Response::new(revision(name, &applied)))
    }

    async fn get_package_set(
        &self,
        request: Request<v1::GetPackageSetRequest>,
    ) -> Result<Response<v1::PackageSet>, Status> {
        let name = names::parse("name", &request.get_ref().name, SETS)?;
        Ok(Response::new(set(&self.ledger.package_set(name).await?)))
    }

    async fn list_package_sets(
        &self,
        request: Request<v1::ListPackageSetsRequest>,
    ) -> Result<Response<v1::ListPackageSetsResponse>, Status> {
        let request = request.get_ref();
        let asked = (request.page_size, &*request.page_token);
        let all = self.ledger.package_sets().await?;
        let (page, next_page_token) = page::of(all, asked, SETS, &self.limits)?;
        let package_sets = page.iter().map(set).collect();
        Ok(Response::new(v1::ListPackageSetsResponse { package_sets, next_page_token }))
    }

    async fn delete_package_set(
        &self,
        request: Request<v1::DeletePackageSetRequest>,
    ) -> Result<Response<v1::DeletePackageSetResponse>, Status> {
        let name = names::parse("name", &request.get_ref().name, SETS)?;
        self.ledger.delete_package_set(name).await?;
        Ok(Response::new(v1::DeletePackageSetResponse {}))
    }
}

/// What is asked for, as far as its words make sense.
fn wanted(asked: &v1::PackageVersion, created: Timestamp) -> Result<PackageVersion, Error> {
    let (package, version) = parse("package_version.name", &asked.name)?;
    let kind = match asked.r#type() {
        wire::Type::Unspecified | wire::Type::TopLevel => PackageKind::TopLevel,
        wire::Type::Addon => PackageKind::Addon,
    };
    let file = |file: &wire::File| {
        let field = "package_version.files.content_hash";
        let sha256 = file.content_hash[..].try_into();
        Ok(PackageFile {
            selector: parse_selector("package_version.files.selector", &file.selector)?,
            url: file.download_url.clone(),
            sha256: sha256.map_err(|_| Error::invalid(field, "must be a SHA-256, 32 bytes"))?,
            signature: file.signature.clone(),
        })
    };
    let files: Result<Vec<PackageFile>, Error> = asked.files.iter().map(file).collect();
    let (package, version) = (package.to_owned(), version.to_owned());
    Ok(PackageVersion { package, version, kind, files: files?, created, actor: String::new() })
}

/// The versions of a set, sorted by package.
fn members(asked: &[String]) -> Result<Vec<(String, String)>, Error> {
    let field = "package_versions";
    if asked.is_empty() || asked.len() > SET_PACKAGES_MAX {
        return Err(Error::invalid(field, format!("must be 1 to {SET_PACKAGES_MAX}")));
    }
    let owned = |(package, version): (&str, &str)| (package.to_owned(), version.to_owned());
    let parsed = asked.iter().map(|name| parse(field, name).map(owned));
    let mut packages = parsed.collect::<Result<Vec<_>, _>>()?;
    packages.sort_unstable();
    match packages.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => {
            let reason = format!("an agent has one version of {:?}, not two", pair[0].0);
            Err(Error::invalid(field, reason))
        }
        None => Ok(packages),
    }
}

/// The package and version in `packages/{package}/versions/{version}`.
fn parse<'a>(field: &'static str, name: &'a str) -> Result<(&'a str, &'a str), Error> {
    let shape = || Error::invalid(field, "must be packages/{package}/versions/{version}");
    let (package, version) = name.split_once("/versions/").ok_or_else(shape)?;
    let package = names::parse(field, package, PACKAGES)?;
    Ok((package, version))
}

fn told(version: &PackageVersion) -> v1::PackageVersion {
    let file = |file: &PackageFile| wire::File {
        selector: file.selector.as_str().to_owned(),
        download_url: file.url.clone(),
        content_hash: file.sha256.to_vec(),
        signature: file.signature.clone(),
        hash: PackageHash::of(&version.package, &version.available(file)).0.to_vec(),
    };
    let r#type = match version.kind {
        PackageKind::TopLevel => wire::Type::TopLevel,
        PackageKind::Addon => wire::Type::Addon,
    };
    v1::PackageVersion {
        name: full(&version.package, &version.version),
        r#type: r#type.into(),
        files: version.files.iter().map(file).collect(),
        create_time: Some(convert::time(version.created)),
        actor: version.actor.clone(),
    }
}

fn set(set: &PackageSet) -> v1::PackageSet {
    v1::PackageSet {
        name: format!("{SETS}/{}", set.name),
        revisions: set.revisions.iter().map(|it| revision(&set.name, it)).collect(),
    }
}

fn revision(name: &str, revision: &SetRevision) -> v1::PackageSetRevision {
    let packages = revision.packages.iter();
    v1::PackageSetRevision {
        name: names::revision_in(SETS, name, revision.number),
        revision: revision.number,
        package_versions: packages.map(|(package, version)| full(package, version)).collect(),
        create_time: Some(convert::time(revision.created)),
        actor: revision.actor.clone(),
    }
}
