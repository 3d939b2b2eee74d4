//! The rules of OpAMP, from outside: real processes, real sockets, real services.
//!
//! Every case runs on two fleets, which are started once: `embedded`, one process without any
//! service, and `cluster`, where each connection and each poll of a case goes to another gateway
//! than the one before. Cases share a fleet, so each makes its own agents.
//!
//! `cargo test -p tests --test conformance -- NAME` runs the cases whose names contain NAME.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "tests")]

mod cases;
mod fleet;
mod messages;
mod rows;
mod table;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use cases::Case;
use fleet::{Fleet, Form};

/// How long a case may take before it counts as stuck.
const CASE_LIMIT: Duration = Duration::from_secs(60);

fn main() {
    if std::env::args().any(|argument| argument == "--write-table") {
        table::write();
        return;
    }
    let arguments = Arguments::from_args();
    let runtime = Arc::new(tokio::runtime::Runtime::new().expect("a runtime starts"));
    let mut trials = vec![Trial::test("docs_conformance_md_is_current", || {
        table::check().map_err(Failed::from)
    })];
    for form in Form::ALL {
        let name = |case: &Case| format!("{}::{}", form.name(), case.name);
        let cases: Vec<&Case> = cases::ALL.iter().filter(|case| case.runs_on(form)).collect();
        let asked =
            |name: String| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter));
        let wanted = !arguments.list && cases.iter().any(|case| asked(name(case)));
        let fleet = if wanted { runtime.block_on(Fleet::shared(form)) } else { None };
        for case in cases {
            let (runtime, fleet) = (runtime.clone(), fleet.clone());
            trials.push(Trial::test(name(case), move || {
                let fleet = fleet.ok_or("the fleet is not there")?;
                let run = async { tokio::time::timeout(CASE_LIMIT, (case.run)(fleet)).await };
                runtime.block_on(run).map_err(|_| Failed::from("stuck"))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
