use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::model::RedisDatabase;
use crate::redis::{RdbFault, RedisEndpoint, RedisTarget};

const SOON: Duration = Duration::from_secs(60);

/// A dump of so many keys.
fn dump(keys: usize) -> Vec<u8> {
    let mut bytes = b"REDIS0010\xfe\x00".to_vec();
    for key in 0..keys {
        bytes.extend(b"\x00\x04");
        bytes.extend(format!("{key:04}").bytes());
        bytes.extend(b"\x02hi");
    }
    bytes.push(0xff);
    let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// A server that knows none of the options, sends `pieces` in answer to `SYNC`, and closes the connection.
async fn server(pieces: Vec<Vec<u8>>) -> RedisTarget {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.windows(4).any(|word| word == b"SYNC") {
                let before = asked.windows(8).filter(|word| *word == b"REPLCONF").count();
                if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
                    return;
                }
                let after = asked.windows(8).filter(|word| *word == b"REPLCONF").count();
                for _ in before..after {
                    stream.write_all(b"-ERR Unrecognized REPLCONF option: eof\r\n").await.unwrap();
                }
            }
            for piece in &pieces {
                if stream.write_all(piece).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let endpoint = RedisEndpoint::Tcp { host: "127.0.0.1".to_owned(), port, tls: false };
    RedisTarget { endpoint, user: None, password: None, sentinel_master: None, authority: None }
}

/// What is read of a server's answer to `SYNC`.
async fn transferred(pieces: Vec<Vec<u8>>) -> Result<(Vec<u8>, DumpReport), String> {
    let connection = RedisConnection::open(&server(pieces).await).await.unwrap();
    let begun = transfer_dump(connection, SOON, CancellationToken::new()).await;
    let (mut producer, report) = begun.map_err(|error| error.to_string())?;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        producer.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Box::new(producer).finish().map_err(|error| error.to_string())?;
        Ok::<_, String>(bytes)
    });
    let bytes = read.await.unwrap()?;
    let report = report.lock().unwrap().take().unwrap();
    Ok((bytes, report))
}

fn pieces(text: &[&[u8]]) -> Vec<Vec<u8>> {
    text.iter().map(|piece| piece.to_vec()).collect()
}

#[tokio::test]
async fn a_dump_comes_with_its_length_or_with_a_mark_at_its_end() {
    let whole = dump(300);
    let mark = b"0123456789abcdef0123456789abcdef01234567";
    let length = format!("${}\r\n", whole.len());
    let marked = [b"$EOF:", &mark[..], b"\r\n"].concat();
    let (half, rest) = whole.split_at(whole.len() / 2);
    let answers = [
        pieces(&[b"\n", b"\n\n", length.as_bytes(), half, rest]),
        pieces(&[b"\n", &marked, half, rest, mark]),
        // The mark in two pieces, the first with data, the second with what comes after it.
        pieces(&[
            &marked,
            half,
            &[rest, &mark[..7]].concat(),
            &[&mark[7..], b"*1\r\n$4\r\nPING\r\n"].concat(),
        ]),
        pieces(&[&[length.as_bytes(), &whole].concat()]),
    ];
    for answer in answers {
        let (bytes, report) = transferred(answer).await.unwrap();
        assert_eq!(bytes, whole);
        assert_eq!(report.footer, RdbFooter { version: 10, is_checksummed: true });
        let counted = RedisDatabase { number: 0, keys: 300, expiring: 0 };
        assert_eq!(report.contents.unwrap().databases, [counted]);
    }
}

#[tokio::test]
async fn a_dump_that_breaks_off_or_was_changed_is_none() {
    let whole = dump(300);
    let mark = b"0123456789abcdef0123456789abcdef01234567";
    let length = format!("${}\r\n", whole.len());
    let marked = [b"$EOF:", &mark[..], b"\r\n"].concat();
    let cut = &whole[..whole.len() - 1];
    for answer in [
        pieces(&[length.as_bytes(), cut]),
        pieces(&[&marked, cut]),
        pieces(&[&marked, &whole]),
        pieces(&[&marked, &whole, &mark[..39]]),
    ] {
        let said = transferred(answer).await.unwrap_err();
        assert!(said.contains("incomplete"), "{said}");
    }
    let mut changed = whole.clone();
    changed[100] ^= 1;
    let said = transferred(pieces(&[length.as_bytes(), &changed])).await.unwrap_err();
    assert!(said.contains(&RdbFault::Checksum.to_string()), "{said}");
    let said = transferred(pieces(&[b"$19\r\n", b"an error page, at 19"])).await.unwrap_err();
    assert!(said.contains(&RdbFault::NoDump.to_string()), "{said}");
}

#[tokio::test]
async fn what_a_server_answers_in_place_of_a_dump_is_explained() {
    for (answer, words) in [
        (&b"-ERR unknown command 'SYNC'\r\n"[..], "ElastiCache"),
        (b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n", "replica"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"\n-NOPERM this user has no permissions\r\n", "ACL SETUSER"),
        (b"+FULLRESYNC\r\n", "does not begin a dump"),
        (b"$EOF:short\r\n", "does not begin a dump"),
        (b"", "closed the connection"),
    ] {
        let said = transferred(pieces(&[answer])).await.unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_transfer_ends_at_its_deadline_and_when_it_is_interrupted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = vec![];
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"+OK\r\n+OK\r\n$1000\r\nREDIS0010").await.unwrap();
            held.push(stream);
        }
    });
    let endpoint = RedisEndpoint::Tcp { host: "127.0.0.1".to_owned(), port, tls: false };
    let target = RedisTarget { endpoint, user: None, password: None, sentinel_master: None, authority: None };
    for (within, cancels, words) in [(50, false, "did not end in"), (60_000, true, "interrupted")] {
        let cancel = CancellationToken::new();
        let connection = RedisConnection::open(&target).await.unwrap();
        let begun = transfer_dump(connection, Duration::from_millis(within), cancel.clone()).await;
        let (mut producer, _report) = begun.unwrap();
        if cancels {
            cancel.cancel();
        }
        let read = tokio::task::spawn_blocking(move || producer.read_to_end(&mut Vec::new()));
        let said = read.await.unwrap().unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
}

proptest! {
    #[test]
    fn a_mark_is_found_wherever_it_is(before in proptest::collection::vec(0u8..3, 0..60), mark in proptest::collection::vec(0u8..3, 1..6)) {
        let all = [before.clone(), mark.clone(), vec![9]].concat();
        let expected = all.windows(mark.len()).position(|window| window == mark);
        prop_assert_eq!(find(&all, &mark), expected);
    }
}
