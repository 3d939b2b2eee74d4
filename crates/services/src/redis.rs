//! Commands to a Redis that a test wants something unusual of.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer taken, in bytes, and most parts of one.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const PARTS_MAX: usize = 1 << 20;
/// Longest line of an answer, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing under that key.
    Nil,
    /// A number.
    Number(i64),
    /// A word or bytes.
    Bytes(Vec<u8>),
    /// Several answers.
    List(Vec<Answer>),
}

impl Answer {
    /// As text, where it is one.
    pub fn text(&self) -> String {
        match self {
            Self::Nil => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::List(list) => list.iter().map(Self::text).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Sends one command on a connection of its own. With `waits` false nobody waits for the answer.
pub(crate) fn command(address: SocketAddr, words: &[&[u8]], waits: bool) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).bytes());
        request.extend(*word);
        request.extend(b"\r\n");
    }
    stream.write_all(&request)?;
    if !waits {
        return Ok(Answer::Nil);
    }
    read(&mut BufReader::new(stream), 0)
}

fn read(from: &mut BufReader<TcpStream>, depth: u8) -> anyhow::Result<Answer> {
    ensure!(depth < 8, "an answer in an answer in an answer");
    let mut line = Vec::new();
    from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
    let (kind, rest) = line.split_at_checked(1).context("no answer")?;
    match kind {
        "+" => Ok(Answer::Bytes(rest.as_bytes().to_vec())),
        "-" => bail!("{rest}"),
        ":" => Ok(Answer::Number(rest.parse()?)),
        "$" | "*" if rest == "-1" => Ok(Answer::Nil),
        "$" => {
            let length: usize = rest.parse()?;
            ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Answer::Bytes(bytes))
        }
        "*" => {
            let parts: usize = rest.parse()?;
            ensure!(parts <= PARTS_MAX, "an answer of {parts} parts");
            (0..parts).map(|_| read(from, depth + 1)).collect::<Result<_, _>>().map(Answer::List)
        }
        _ => bail!("no answer of Redis: {line}"),
    }
}
