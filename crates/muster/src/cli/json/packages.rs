//! Packages and sets of them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use control::v1::package_version::{File, Type};
use control::v1::{PackageSet, PackageSetRevision, PackageVersion};
use serde_json::{Value, json};

use super::{hex, text, time};
use crate::cli::names::short;

pub(in crate::cli) fn package_version(version: &PackageVersion) -> Value {
    let kind = match version.r#type() {
        Type::Unspecified => "unknown",
        Type::TopLevel => "top-level",
        Type::Addon => "addon",
    };
    let file = |file: &File| {
        json!({
            "selector": file.selector,
            "url": file.download_url,
            "sha256": hex(&file.content_hash),
            "signature": BASE64_STANDARD.encode(&file.signature),
            "hash": hex(&file.hash),
        })
    };
    json!({
        "name": short(&version.name),
        "type": kind,
        "files": version.files.iter().map(file).collect::<Vec<_>>(),
        "created": time(version.create_time.as_ref()),
        "actor": text(&version.actor),
    })
}

pub(in crate::cli) fn package_set(set: &PackageSet) -> Value {
    json!({
        "name": short(&set.name),
        "revisions": set.revisions.iter().map(set_revision).collect::<Vec<_>>(),
    })
}

pub(in crate::cli) fn set_revision(revision: &PackageSetRevision) -> Value {
    let packages = revision.package_versions.iter();
    json!({
        "name": short(&revision.name),
        "revision": revision.revision,
        "packages": packages.map(|it| short(it)).collect::<Vec<_>>(),
        "created": time(revision.create_time.as_ref()),
        "actor": text(&revision.actor),
    })
}
