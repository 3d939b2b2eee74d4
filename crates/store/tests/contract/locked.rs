//! A Redis that does not let everybody in, and one that cannot be trusted: the contract holds
//! inside TLS too, and who is wrong is told at once, why, and without any secret.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use services::{Authority, Lock, PASSWORD, Server, USER};
use store::{Error, Redis, RedisAccess, RedisConfig, Store as _};

use crate::fixture::{agent, commit, get, stored, write};
use crate::{Case, redis_trial, run};

/// A server with a lock, and who signed its certificate.
struct Locked {
    server: Server,
    authority: Authority,
}

impl Locked {
    fn start() -> Self {
        let authority = Authority::new().unwrap();
        let server = Server::locked_redis(&Lock::new(&authority).unwrap()).unwrap();
        Self { server, authority }
    }

    /// What lets its user in.
    fn config(&self, fleet: &str) -> RedisConfig {
        RedisConfig {
            url: format!("rediss://{USER}@{}", self.server.address()),
            fleet: fleet.to_owned(),
            access: RedisAccess {
                password: Some(PASSWORD.to_owned()),
                ca: Some(pem(&self.authority)),
                certificate: None,
            },
        }
    }
}

fn pem(authority: &Authority) -> Vec<u8> {
    std::fs::read(authority.file()).unwrap()
}

/// The contract, and what only this server can show.
pub(crate) fn trials(cases: Vec<(&'static str, Case)>) -> Vec<Trial> {
    let shared = Arc::<OnceLock<Locked>>::default();
    let contract = cases.into_iter().map(|(name, case)| {
        let shared = shared.clone();
        redis_trial(format!("locked_redis::{name}"), move || {
            let config = shared.get_or_init(Locked::start).config(&name.replace("::", "-"));
            run(async move { case(Arc::new(Redis::connect(config).await.unwrap())).await })
        })
    });
    macro_rules! trials {
        ($($case:ident),* $(,)?) => {
            vec![$(redis_trial(
                concat!("locked_redis::", stringify!($case)).to_owned(),
                || run($case()),
            )),*]
        };
    }
    let own = trials![
        a_wrong_password_is_refused_by_name,
        a_password_in_the_url_counts_once_it_is_unescaped,
        a_server_of_another_authority_is_not_believed,
        the_wrong_kind_of_port_is_told,
        a_server_that_asks_for_a_certificate_gets_one,
        a_restart_is_outlived,
        a_log_that_is_dropped_when_it_is_read_is_told_of,
    ];
    contract.chain(own).collect()
}

/// What a connection that is refused is told, soon.
async fn refused(config: RedisConfig) -> String {
    let (text, error) = failed(config).await;
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    text
}

async fn failed(config: RedisConfig) -> (String, Error) {
    let (start, shown) = (Instant::now(), format!("{config:?} {:?}", config.access));
    let error = Redis::connect(config).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(4), "{error}");
    let text = error.to_string();
    for said in [&text, &shown, &format!("{error:?}")] {
        let secret =
            ["hunter2", "wrong-secret", USER].iter().find(|secret| said.contains(**secret));
        assert!(secret.is_none(), "{said}");
    }
    (text, error)
}

async fn a_wrong_password_is_refused_by_name() {
    let locked = Locked::start();
    let mut wrong = locked.config("test");
    wrong.access.password = Some("wrong-secret".to_owned());
    let said = refused(wrong.clone()).await;
    assert!(said.contains("refuses the user and password"), "{said}");
    wrong.access.password = None;
    wrong.url = locked.server.url();
    let said = refused(wrong).await;
    assert!(said.contains("asks for a password"), "{said}");
    let mut both = locked.config("test");
    both.url = both.url.replace(USER, "a:hunter2");
    let said = refused(both).await;
    assert!(said.contains("give only one"), "{said}");
}

async fn a_password_in_the_url_counts_once_it_is_unescaped() {
    let locked = Locked::start();
    let mut config = locked.config("test");
    config.url = config.url.replace(USER, &format!("{USER}:hunter2%40home%2F%2541"));
    config.access.password = None;
    let store = Redis::connect(config).await.unwrap();
    store.ready().await.unwrap();
    assert!(!format!("{store:?}").contains("hunter2"));
}

async fn a_server_of_another_authority_is_not_believed() {
    let locked = Locked::start();
    let mut config = locked.config("test");
    config.access.ca = Some(pem(&Authority::new().unwrap()));
    let said = refused(config.clone()).await;
    assert!(said.contains("not signed by the given CA"), "{said}");
    config.access.ca = None;
    let said = refused(config).await;
    assert!(said.contains("give its CA"), "{said}");
}

async fn the_wrong_kind_of_port_is_told() {
    let (locked, open) = (Locked::start(), Server::redis().unwrap());
    let mut config = locked.config("test");
    config.url = format!("rediss://{}", open.address());
    config.access.password = None;
    let (said, _) = failed(config.clone()).await;
    assert!(said.contains("TLS"), "{said}");
    config.url = open.url();
    let said = refused(config.clone()).await;
    assert!(said.contains("rediss:// only"), "{said}");
    config.url = format!("redis://{}", locked.server.address());
    config.access = RedisAccess::default();
    let (said, _) = failed(config).await;
    assert!(said.contains("does it want TLS"), "{said}");
}

async fn a_server_that_asks_for_a_certificate_gets_one() {
    let authority = Authority::new().unwrap();
    let lock = Lock::new(&authority).unwrap().asking_certificate();
    let locked = Locked { server: Server::locked_redis(&lock).unwrap(), authority };
    let mut config = locked.config("test");
    assert!(Redis::connect(config.clone()).await.is_err());
    let pair = locked.authority.client("muster").unwrap();
    let read = |path| std::fs::read(path).unwrap();
    config.access.certificate = Some((read(&pair.certificate), read(&pair.key)));
    Redis::connect(config).await.unwrap().ready().await.unwrap();
}

async fn a_restart_is_outlived() {
    let mut locked = Locked::start();
    let store = Redis::connect(locked.config("test")).await.unwrap();
    commit(&store, write(&agent(1), 0, "before")).await;
    locked.server.restart().unwrap();
    let back = async || store.ready().await.ok();
    crate::fixture::eventually("back", Duration::from_secs(5), back).await;
    assert_eq!(get(&store, &agent(1)).await, Some(stored(1, "before")));
}

/// Redis reads its log as the default user, and leaves out what that one may not do.
async fn a_log_that_is_dropped_when_it_is_read_is_told_of() {
    let mut locked = Locked::start();
    let store = Redis::connect(locked.config("test")).await.unwrap();
    let told = store.durability().await.unwrap();
    assert_eq!((told.writes_through(), told.reads_back()), (Some(true), Some(true)));

    let settings = std::fs::read_to_string(locked.server.data_dir().join("settings")).unwrap();
    let careless = settings.replace("user default off ~* &* +@all", "user default off");
    assert_ne!(careless, settings);
    locked.server.set(&careless).unwrap();
    locked.server.restart().unwrap();
    let store = Redis::connect(locked.config("test")).await.unwrap();
    let told = store.durability().await.unwrap();
    assert_eq!((told.writes_through(), told.reads_back()), (Some(true), Some(false)));
    commit(&store, write(&agent(1), 0, "acknowledged")).await;
    locked.server.restart().unwrap();
    let store = Redis::connect(locked.config("test")).await.unwrap();
    assert_eq!(get(&store, &agent(1)).await, None, "this Redis may be believed");
}
