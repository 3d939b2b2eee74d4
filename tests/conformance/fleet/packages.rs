//! Packages, as operators give them.

use control::v1::assignments_client::AssignmentsClient;
use control::v1::package_version::File;
use control::v1::packages_client::PackagesClient;
use control::v1::*;
use opamp::v1::{AgentToServer, PackagesAvailable};
use tonic::Status;

use super::{Fleet, PATIENCE};
use crate::messages::{CAPABILITIES, PACKAGES, full};

/// As with configs.
const KNOWN_IN_A_ROW: usize = 8;

/// A file of a package.
pub(crate) fn file(selector: &str, url: &str, sha256: [u8; 32]) -> File {
    File {
        selector: selector.to_owned(),
        download_url: url.to_owned(),
        content_hash: sha256.to_vec(),
        signature: b"of the publisher".to_vec(),
        hash: Vec::new(),
    }
}

/// The assignment of the newest revision of a case's set.
fn newest(case: &str) -> Assignment {
    Assignment {
        name: format!("assignments/{case}"),
        selector: format!("case={case}"),
        package_set_revision: format!("packageSets/{case}"),
        ..Default::default()
    }
}

impl Fleet {
    /// Adds a version; `packages/{package}/versions/{version}` is its name.
    pub(crate) async fn try_package(
        &self,
        name: &str,
        files: Vec<File>,
    ) -> Result<PackageVersion, Status> {
        let version = PackageVersion { name: name.to_owned(), files, ..Default::default() };
        let request = CreatePackageVersionRequest { package_version: Some(version) };
        let mut client = PackagesClient::new(self.channel.clone());
        Ok(client.create_package_version(request).await?.into_inner())
    }

    /// Makes a set of versions and assigns it to the agents of a case, whose new members are
    /// offered it from then on by every worker.
    pub(crate) async fn give_packages(&self, case: &str, versions: &[&str]) {
        self.apply_set(case, versions).await;
        let before = self.package_newcomer(case).await;
        self.assign_packages(case).await;
        let known = async {
            let mut in_a_row = 0;
            while in_a_row < KNOWN_IN_A_ROW {
                let other = self.package_newcomer(case).await != before;
                in_a_row = if other { in_a_row + 1 } else { 0 };
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("the decision is known");
    }

    /// Assigns the newest revision of a case's set to its agents.
    pub(crate) async fn assign_packages(&self, case: &str) {
        let assignment = Some(newest(case));
        let request = SetAssignmentRequest { assignment, validate_only: false };
        AssignmentsClient::new(self.channel.clone()).set_assignment(request).await.unwrap();
    }

    /// What setting the newest revision of a case's set again would do.
    pub(crate) async fn preview_packages(&self, case: &str) -> Impact {
        let assignment = Some(newest(case));
        let request = SetAssignmentRequest { assignment, validate_only: true };
        let mut client = AssignmentsClient::new(self.channel.clone());
        client.set_assignment(request).await.unwrap().into_inner().impact.unwrap()
    }

    /// Makes another revision of a case's set, which nobody is offered yet.
    pub(crate) async fn apply_set(&self, case: &str, versions: &[&str]) {
        let request = ApplyPackageSetRequest {
            name: format!("packageSets/{case}"),
            package_versions: versions.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut client = PackagesClient::new(self.channel.clone());
        client.apply_package_set(request).await.unwrap();
    }

    /// The newest revision of a case's set.
    pub(crate) async fn set_revision(&self, case: &str) -> String {
        let request = GetPackageSetRequest { name: format!("packageSets/{case}") };
        let mut client = PackagesClient::new(self.channel.clone());
        let set = client.get_package_set(request).await.unwrap().into_inner();
        set.revisions.last().unwrap().name.clone()
    }

    async fn package_newcomer(&self, case: &str) -> Option<PackagesAvailable> {
        let capabilities = CAPABILITIES | PACKAGES;
        let message = AgentToServer { capabilities, ..full(self.uid(), 0, case) };
        self.poll(&message).await.packages_available
    }
}
