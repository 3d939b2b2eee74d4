//! Generated code: `proto/` in, `crates/*/src/gen/` out, no protoc. The output is committed, so
//! that building Muster needs neither this crate nor its dependencies; a test holds both in step.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost::Message as _;

/// Where the generated code of one crate comes from and goes to.
struct Target {
    crate_name: &'static str,
    files: &'static [&'static str],
    /// Byte fields that are passed on untouched, and so shared instead of copied.
    shared_bytes: &'static [&'static str],
    extern_paths: &'static [(&'static str, &'static str)],
    services: bool,
}

const TARGETS: &[Target] = &[
    Target {
        crate_name: "opamp",
        files: &["opamp/v1/opamp.proto"],
        shared_bytes: &[".opamp.proto.v1.AgentConfigFile.body"],
        extern_paths: &[],
        services: false,
    },
    Target {
        crate_name: "bus",
        files: &["muster/bus/v1/bus.proto", "muster/bus/v1/event.proto"],
        shared_bytes: &[".muster.bus.v1"],
        extern_paths: &[(".opamp.proto.v1", "::opamp::v1")],
        services: false,
    },
    Target {
        crate_name: "store",
        files: &[
            "muster/state/v1/state.proto",
            "muster/state/v1/packages.proto",
            "muster/state/v1/settings.proto",
            "muster/state/v1/credentials.proto",
        ],
        shared_bytes: &[],
        extern_paths: &[(".opamp.proto.v1", "::opamp::v1")],
        services: false,
    },
    Target {
        crate_name: "control",
        files: &[
            "muster/control/v1/control.proto",
            "muster/control/v1/packages.proto",
            "muster/control/v1/settings.proto",
            "muster/control/v1/credentials.proto",
        ],
        shared_bytes: &[],
        extern_paths: &[(".opamp.proto.v1", "::opamp::v1")],
        services: true,
    },
];

/// Regenerates every crate's `src/gen` under `root`.
pub(crate) fn generate(root: &Path) -> anyhow::Result<()> {
    for target in TARGETS {
        let out = root.join("crates").join(target.crate_name).join("src/gen");
        generate_into(root, target, &out)?;
    }
    Ok(())
}

fn generate_into(root: &Path, target: &Target, out: &Path) -> anyhow::Result<()> {
    let files = protox::compile(target.files, [root.join("proto")])
        .with_context(|| format!("compiling the protos of {}", target.crate_name))?;
    std::fs::create_dir_all(out)?;
    let mut config = tonic_prost_build::configure()
        .out_dir(out)
        .build_client(target.services)
        .build_server(target.services)
        .btree_map(".");
    for path in target.shared_bytes {
        config = config.bytes(path);
    }
    for (proto, rust) in target.extern_paths {
        config = config.extern_path(*proto, *rust);
    }
    if target.services {
        // What gRPC reflection serves.
        std::fs::write(out.join("descriptor.bin"), files.encode_to_vec())?;
    }
    config.compile_fds(files)?;
    format(root, out)
}

/// prost-build formats with its own settings; the house's rustfmt has the last word.
fn format(root: &Path, out: &Path) -> anyhow::Result<()> {
    let files: Vec<PathBuf> = std::fs::read_dir(out)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect();
    let status = std::process::Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .args(&files)
        .status()?;
    anyhow::ensure!(status.success(), "rustfmt failed on generated code in {}", out.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_code_matches_the_protos() {
        let root = crate::root();
        for target in TARGETS {
            let fresh = tempfile::tempdir().unwrap();
            generate_into(&root, target, fresh.path()).unwrap();
            let committed = root.join("crates").join(target.crate_name).join("src/gen");
            for entry in std::fs::read_dir(fresh.path()).unwrap() {
                let name = entry.unwrap().file_name();
                let want = std::fs::read(fresh.path().join(&name)).unwrap();
                let have = std::fs::read(committed.join(&name)).unwrap_or_default();
                assert!(
                    want == have,
                    "{}/{} is stale: run `cargo xtask proto`",
                    committed.display(),
                    name.display()
                );
            }
        }
    }
}
