//! Packages as the agent takes them: an offer is all that it is to have, so that what is not in it
//! goes; what is in it and not there, or there in another form, is a job for whoever has a disk.

use std::collections::{BTreeMap, VecDeque};

use opamp::capability::has;
use opamp::v1::*;

use super::Agent;
use crate::ledger::Entry;

/// Something to do on a disk.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Fetch a package's file, look whether it is the right one, and put it in place.
    Install {
        /// The package's name.
        name: String,
        /// What is known of it.
        package: Box<PackageAvailable>,
    },
    /// It is not to be there any more.
    Remove {
        /// The package's name.
        name: String,
    },
}

/// How far the agent is with packages.
#[derive(Debug, Default)]
pub(super) struct Packages {
    /// What is there.
    installed: BTreeMap<String, PackageAvailable>,
    statuses: Option<PackageStatuses>,
    jobs: VecDeque<Job>,
    /// The server is yet to be told.
    changed: bool,
}

impl Packages {
    pub(super) fn wait(&self) -> bool {
        self.changed
    }

    /// What goes into the next message: in a full one whatever there is.
    pub(super) fn told(&mut self, full: bool, capabilities: u64) -> Option<PackageStatuses> {
        let changed = std::mem::take(&mut self.changed);
        let reports = has(capabilities, AgentCapabilities::ReportsPackageStatuses);
        self.statuses.clone().filter(|_| reports && (changed || full))
    }

    /// A message did not go out.
    pub(super) fn lost(&mut self, message: &AgentToServer) {
        self.changed |= message.package_statuses.is_some();
    }

    fn status(&mut self, name: &str) -> Option<&mut PackageStatus> {
        self.changed = true;
        self.statuses.as_mut()?.packages.get_mut(name)
    }
}

impl Agent {
    /// The packages that are there, by name.
    pub fn packages(&self) -> &BTreeMap<String, PackageAvailable> {
        &self.packages.installed
    }

    /// What it says of its packages.
    pub fn package_statuses(&self) -> Option<&PackageStatuses> {
        self.packages.statuses.as_ref()
    }

    /// The next thing to do on a disk; told once.
    pub fn takes_job(&mut self) -> Option<Job> {
        self.packages.jobs.pop_front()
    }

    /// A download goes on.
    pub fn downloading(&mut self, name: &str, percent: f64, bytes_per_second: f64) {
        if let Some(status) = self.packages.status(name) {
            status.status = PackageStatusEnum::Downloading.into();
            status.download_details = Some(PackageDownloadDetails {
                download_percent: percent,
                download_bytes_per_second: bytes_per_second,
            });
        }
    }

    /// A job ended.
    pub fn job_done(&mut self, job: &Job, result: Result<(), String>) {
        match job {
            Job::Remove { name } => drop(self.packages.installed.remove(name)),
            Job::Install { name, package } => {
                let installed = result.is_ok();
                if let Some(status) = self.packages.status(name) {
                    status.download_details = None;
                    status.error_message = result.err().unwrap_or_default();
                    status.status = match installed {
                        true => PackageStatusEnum::Installed.into(),
                        false => PackageStatusEnum::InstallFailed.into(),
                    };
                    if installed {
                        status.agent_has_version.clone_from(&package.version);
                        status.agent_has_hash.clone_from(&package.hash);
                    }
                }
                if installed {
                    self.packages.installed.insert(name.clone(), (**package).clone());
                }
            }
        }
    }

    pub(super) fn packages_offered(&mut self, offer: &PackagesAvailable) {
        self.ledger.package_offers += 1;
        self.ledger.note(|| Entry::PackagesOffered(offer.all_packages_hash.clone()));
        if !has(self.capabilities, AgentCapabilities::AcceptsPackages) {
            return;
        }
        let packages = &mut self.packages;
        packages.changed = true;
        let known = packages.statuses.as_ref().map(|it| &it.server_provided_all_packages_hash);
        if known == Some(&offer.all_packages_hash) {
            self.ledger.repeated_packages += 1;
            return;
        }
        // What was begun for an older offer is not wanted any more.
        packages.jobs.clear();
        let gone = packages.installed.keys().filter(|name| !offer.packages.contains_key(*name));
        let remove = gone.map(|name| Job::Remove { name: name.clone() });
        packages.jobs.extend(remove.collect::<Vec<_>>());
        let mut statuses = PackageStatuses {
            server_provided_all_packages_hash: offer.all_packages_hash.clone(),
            ..Default::default()
        };
        for (name, package) in &offer.packages {
            let has = packages.installed.get(name);
            let done = has.is_some_and(|has| has.hash == package.hash);
            let status = PackageStatus {
                name: name.clone(),
                agent_has_version: has.map_or(String::new(), |has| has.version.clone()),
                agent_has_hash: has.map_or(Vec::new(), |has| has.hash.clone()),
                server_offered_version: package.version.clone(),
                server_offered_hash: package.hash.clone(),
                status: match done {
                    true => PackageStatusEnum::Installed.into(),
                    false => PackageStatusEnum::InstallPending.into(),
                },
                ..Default::default()
            };
            statuses.packages.insert(name.clone(), status);
            if !done {
                let package = Box::new(package.clone());
                packages.jobs.push_back(Job::Install { name: name.clone(), package });
            }
        }
        packages.statuses = Some(statuses);
    }
}

#[cfg(test)]
mod tests {
    use opamp::InstanceUid;

    use super::*;
    use crate::core::Settings;

    fn offer(hash: u8, packages: &[(&str, u8)]) -> ServerToAgent {
        let package = |(name, hash): &(&str, u8)| {
            let package = PackageAvailable {
                version: hash.to_string(),
                hash: vec![*hash; 32],
                ..Default::default()
            };
            ((*name).to_owned(), package)
        };
        let packages_available = Some(PackagesAvailable {
            packages: packages.iter().map(package).collect(),
            all_packages_hash: vec![hash; 32],
        });
        ServerToAgent { packages_available, ..Default::default() }
    }

    fn agent() -> Agent {
        let bits = AgentCapabilities::AcceptsPackages as u64
            | AgentCapabilities::ReportsPackageStatuses as u64;
        let settings = Settings::new(InstanceUid::from_bytes([1; 16]));
        Agent::new(Settings { capabilities: settings.capabilities | bits, ..settings })
    }

    /// Does all jobs; those of packages in `fail` fail.
    fn work(agent: &mut Agent, fail: &[&str]) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(job) = agent.takes_job() {
            let (text, name) = match &job {
                Job::Install { name, .. } => (format!("+{name}"), name.clone()),
                Job::Remove { name } => (format!("-{name}"), name.clone()),
            };
            let result = match fail.contains(&&*name) {
                true => Err("no space".to_owned()),
                false => Ok(()),
            };
            agent.job_done(&job, result);
            done.push(text);
        }
        done
    }

    #[test]
    fn what_is_not_offered_goes_and_what_is_there_stays() {
        let mut agent = agent();
        agent.hear(&offer(1, &[("a", 1), ("b", 1)]), 0);
        assert_eq!(work(&mut agent, &[]), ["+a", "+b"]);
        agent.hear(&offer(2, &[("a", 1), ("c", 1)]), 0);
        assert_eq!(work(&mut agent, &[]), ["-b", "+c"]);
        let has: Vec<_> = agent.packages().keys().cloned().collect();
        assert_eq!(has, ["a", "c"]);
        agent.hear(&offer(2, &[("a", 1), ("c", 1)]), 0);
        assert!(work(&mut agent, &[]).is_empty(), "it has that");
        assert_eq!(agent.ledger.repeated_packages, 1);
    }

    #[test]
    fn a_failure_is_told_with_its_reason_and_what_was_there_stays() {
        let mut agent = agent();
        agent.hear(&offer(1, &[("a", 1)]), 0);
        work(&mut agent, &[]);
        agent.hear(&offer(2, &[("a", 2)]), 0);
        work(&mut agent, &["a"]);
        let message = agent.next_message(0).unwrap();
        let statuses = message.package_statuses.unwrap();
        let status = &statuses.packages["a"];
        assert_eq!(status.status(), PackageStatusEnum::InstallFailed);
        assert_eq!((&*status.error_message, &*status.agent_has_version), ("no space", "1"));
        assert_eq!(statuses.server_provided_all_packages_hash, [2; 32]);
        assert_eq!(agent.packages()["a"].version, "1");
        assert!(agent.next_message(0).is_none(), "told once");
    }
}
