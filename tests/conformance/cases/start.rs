//! What holds without any setting.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use crate::fleet::Fleet;

/// Ends with the case.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn gen_03_agents_connect_to_port_4320(_: &Fleet) {
    let data = tempfile::tempdir().unwrap();
    let child = Command::new(services::binary("muster").unwrap())
        .args(["serve", "--control-listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(data.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let said = BufReader::new(running.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<String> = said.take(1).collect();
    if let Some(line) = said.first() {
        assert!(line.starts_with("opamp ") && line.contains(":4320/"), "{line}");
        return;
    }
    // Somebody has the port already, and then it says which one it wanted.
    let mut errors = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.contains("127.0.0.1:4320"), "{errors}");
}
