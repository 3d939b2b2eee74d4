//! Dependencies: direction, fences, licences, sources, duplicates.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use super::rules::{ARROWS, FENCES, LICENCES, ONCE, PURE};

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(crate::root()).exec().unwrap()
}

/// What a package of ours depends on outside its tests.
fn dependencies(package: &Package) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn arrows_point_downwards() {
    let metadata = metadata();
    let ours: BTreeSet<String> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    for package in metadata.workspace_packages() {
        let rule = ARROWS.iter().find(|(name, _)| *name == package.name.as_str());
        let (_, allowed) = rule.unwrap_or_else(|| panic!("{} has no rule", package.name));
        for dependency in dependencies(package).intersection(&ours) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{} must not depend on {dependency}",
                package.name
            );
        }
    }
}

#[test]
fn crates_of_others_stay_behind_their_fences() {
    for package in metadata().workspace_packages() {
        let dependencies = dependencies(package);
        for (fenced, allowed) in FENCES {
            assert!(
                !dependencies.contains(*fenced) || allowed.contains(&package.name.as_str()),
                "{} must not use {fenced}: only {allowed:?} may",
                package.name
            );
        }
    }
}

#[test]
fn pure_crates_depend_on_pure_things() {
    for package in metadata().workspace_packages() {
        let Some((_, allowed)) = PURE.iter().find(|(name, _)| *name == package.name.as_str())
        else {
            continue;
        };
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        let more: Vec<String> = dependencies(package).difference(&allowed).cloned().collect();
        assert!(more.is_empty(), "{} must stay pure, without {more:?}", package.name);
    }
}

#[test]
fn big_crates_are_there_once() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata().packages {
        versions.entry(package.name.to_string()).or_default().push(package.version.to_string());
    }
    for name in ONCE {
        let found = versions.get(*name).cloned().unwrap_or_default();
        assert!(found.len() <= 1, "{name} is there in versions {found:?}");
    }
}

#[test]
fn everything_comes_from_the_registry_under_a_licence_we_may_use() {
    for package in metadata().packages {
        let Some(source) = &package.source else { continue };
        assert!(source.is_crates_io(), "{} comes from {source}", package.name);
        let licence = package.license.clone().unwrap_or_default();
        // `A OR B` offers a choice; `A AND B` and `A/B` do what they say.
        let choices = licence.replace('/', " OR ").replace(['(', ')'], "");
        let fits = |choice: &str| choice.split(" AND ").all(|one| LICENCES.contains(&one.trim()));
        assert!(choices.split(" OR ").any(fits), "{} has licence {licence:?}", package.name);
    }
}
