//! Fetching a file over HTTP: onto a disk as it comes, from where it broke off, and known by its
//! SHA-256 in the end.

use std::io::SeekFrom;
use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use opamp::v1::DownloadableFile;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::{Endpoint, Trust, within};
use crate::Error;
use crate::limits::{DOWNLOAD_IDLE_TIMEOUT, DOWNLOAD_TRIES, REPLY_TIMEOUT};

/// Bytes read back at a time to know what is there.
const READ_BYTES: usize = 256 << 10;

/// Fetches a file into a place beside which nobody else writes. `progress` hears how many bytes are
/// there, and of how many, if that is known.
pub(crate) async fn fetch(
    file: &DownloadableFile,
    trust: &Trust,
    into: &Path,
    mut progress: impl FnMut(u64, Option<u64>),
) -> Result<(), String> {
    let mut tries = 0;
    loop {
        match attempt(file, trust, into, &mut progress).await {
            Ok(()) => break,
            // What is there already is not fetched again.
            Err(Error::Lost(_) | Error::TimedOut(_)) if tries < DOWNLOAD_TRIES => tries += 1,
            Err(error) => return Err(error.to_string()),
        }
    }
    let found = digest(into).await.map_err(|error| error.to_string())?;
    match found[..] == file.content_hash[..] {
        true => Ok(()),
        false => Err(format!(
            "the file is another one: its SHA-256 is {}, not {}",
            hex(&found),
            hex(&file.content_hash)
        )),
    }
}

/// Fetches what is missing.
async fn attempt(
    wanted: &DownloadableFile,
    trust: &Trust,
    into: &Path,
    progress: &mut impl FnMut(u64, Option<u64>),
) -> Result<(), Error> {
    let endpoint = endpoint(&wanted.download_url, trust)?;
    let mut file = File::options().create(true).truncate(false).write(true).open(into).await?;
    let mut there = file.seek(SeekFrom::End(0)).await?;
    let mut request = Request::get(&endpoint.path).header(header::HOST, &endpoint.authority);
    for told in wanted.headers.iter().flat_map(|headers| &headers.headers) {
        request = request.header(&told.key, &told.value);
    }
    if there > 0 {
        request = request.header(header::RANGE, format!("bytes={there}-"));
    }
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|error| Error::Protocol(error.to_string()))?;
    let io = endpoint.dial().await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let mut driving = JoinSet::new();
    driving.spawn(async move { drop(connection.await) });
    let response = within(REPLY_TIMEOUT, sender.send_request(request)).await??;
    match response.status() {
        StatusCode::OK => {
            // The server gives the whole of it.
            there = file.seek(SeekFrom::Start(0)).await?;
            file.set_len(0).await?;
        }
        StatusCode::PARTIAL_CONTENT => {}
        // Nothing is missing, or what is there is too long: its hash will say.
        StatusCode::RANGE_NOT_SATISFIABLE if there > 0 => return Ok(()),
        status => return Err(Error::Refused { status: status.as_u16(), retry_after: None }),
    }
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let total = length.map(|length| there + length);
    let mut body = response.into_body();
    while let Some(frame) = within(DOWNLOAD_IDLE_TIMEOUT, body.frame()).await? {
        let Ok(data) = frame?.into_data() else { continue };
        file.write_all(&data).await?;
        there += data.len() as u64;
        progress(there, total);
    }
    file.sync_all().await?;
    match total {
        Some(total) if there < total => Err(Error::Lost("the file ended early".to_owned())),
        _ => Ok(()),
    }
}

/// Where a file is fetched from. Unlike a server of agents it is at the usual ports.
fn endpoint(url: &str, trust: &Trust) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::parse(url)?;
    let port = url.parse::<Uri>().ok().and_then(|uri| uri.port_u16());
    let usual = if endpoint.tls { 443 } else { 80 };
    let host = endpoint.authority.rsplit_once(':').map_or("", |(host, _)| host).to_owned();
    let authority = format!("{host}:{}", port.unwrap_or(usual));
    Ok(Endpoint { authority, ..endpoint.trusting(trust.clone()) })
}

async fn digest(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path).await?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
