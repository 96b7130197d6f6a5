//! Copies every key from one server to another, over any network.

use crate::redis::{RedisConnection, RedisError, Reply};

/// Keys that are asked for at a time.
const BATCH: &str = "100";
/// Bytes that are collected before they are sent.
const SENT: usize = 4 << 20;

/// Copies the keys of one database, with their times to live. No key is overwritten.
pub(super) async fn copy_database(
    from: &mut RedisConnection,
    to: &mut RedisConnection,
    number: u64,
) -> Result<(), RedisError> {
    let select = number.to_string();
    from.call(&["SELECT", &select]).await?;
    to.call(&["SELECT", &select]).await?;
    let mut cursor = "0".to_owned();
    loop {
        let Reply::Array(page) = from.call(&["SCAN", &cursor, "COUNT", BATCH]).await? else {
            return Err(unexpected(from));
        };
        let [next, Reply::Array(keys)] = &page[..] else { return Err(unexpected(from)) };
        let keys: Vec<&[u8]> = keys
            .iter()
            .filter_map(|key| if let Reply::Bulk(key) = key { Some(key.as_slice()) } else { None })
            .collect();
        copy_batch(from, to, &keys).await?;
        cursor = next.text().ok_or_else(|| unexpected(from))?;
        if cursor == "0" {
            return Ok(());
        }
    }
}

async fn copy_batch(
    from: &mut RedisConnection,
    to: &mut RedisConnection,
    keys: &[&[u8]],
) -> Result<(), RedisError> {
    for key in keys {
        from.queue(&[b"DUMP", key]);
        from.queue(&[b"PTTL", key]);
    }
    from.flush().await?;
    let mut sent = vec![];
    for key in keys {
        let (value, lives) = (from.receive().await?, from.receive().await?);
        let (Reply::Bulk(value), Reply::Integer(lives)) = (value, lives) else { continue };
        let lives = match lives {
            -1 => "0".to_owned(),
            1.. => lives.to_string(),
            // Its time to live has just ended.
            _ => continue,
        };
        to.queue(&[b"RESTORE", key, lives.as_bytes(), &value]);
        sent.push(*key);
        if to.queued() > SENT {
            to.flush().await?;
        }
    }
    to.flush().await?;
    let mut taken = vec![];
    for key in sent {
        match to.receive().await? {
            Reply::Error(text) if text.starts_with("BUSYKEY") => taken.push(key),
            Reply::Error(text) => return Err(to.refused("RESTORE", &text)),
            _ => {}
        }
    }
    for key in taken {
        // A scan may return a key twice: it is there then as it was copied.
        let (ours, theirs) = (from.call_bytes(&[b"DUMP", key]).await?, to.call_bytes(&[b"DUMP", key]).await?);
        if ours != theirs {
            return Err(to.refused("RESTORE", "BUSYKEY another client wrote a key of that name meanwhile"));
        }
    }
    Ok(())
}

/// Copies the libraries of functions, where there are some.
pub(super) async fn copy_functions(
    from: &mut RedisConnection,
    to: &mut RedisConnection,
) -> Result<(), RedisError> {
    match from.call(&["FUNCTION", "DUMP"]).await? {
        Reply::Bulk(libraries) => {
            to.call_bytes(&[b"FUNCTION", b"RESTORE", &libraries]).await?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn unexpected(connection: &RedisConnection) -> RedisError {
    RedisError::Protocol { address: connection.address().to_owned(), what: "`SCAN` returns no keys" }
}
