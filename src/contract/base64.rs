// SPDX-License-Identifier: Apache-2.0 OR MIT
//! base64 as RFC 4648 section 4 has it, with padding: fifty lines that a crate would replace by four thousand.

use anyhow::{Context, Result, ensure};

/// Decode. An error says where, never what: the text may be a secret.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    let bytes = text.as_bytes();
    ensure!(bytes.len().is_multiple_of(4), "base64 of {} characters is no multiple of 4", bytes.len());
    let padding = bytes.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let digits = bytes.get(..bytes.len() - padding).unwrap_or_default();
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for (n, byte) in digits.iter().enumerate() {
        let value = value(*byte).with_context(|| format!("character {} is not base64", n + 1))?;
        bits = (bits << 6) | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            // The lowest eight bits: those above were written before.
            decoded.push((bits >> count) as u8);
        }
    }
    Ok(decoded)
}

fn value(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Encode.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * n)) as usize & 63).copied().unwrap_or(b'=');
            text.push(if n <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_table() {
        for (label, text, expected) in [
            ("empty", "", Ok(&b""[..])),
            ("one", "Zg==", Ok(b"f")),
            ("two", "Zm8=", Ok(b"fo")),
            ("three", "Zm9v", Ok(b"foo")),
            ("all bits", "//79+w==", Ok(&[0xff, 0xfe, 0xfd, 0xfb])),
            ("no padding", "Zg", Err("base64 of 2 characters is no multiple of 4")),
            ("padding inside", "Zg==Zg==", Err("character 3 is not base64")),
            ("only padding", "====", Err("character 1 is not base64")),
            ("URL alphabet", "_w==", Err("character 1 is not base64")),
            ("space", "Zm9 ", Err("character 4 is not base64")),
            ("not ASCII", "Zmé", Err("character 3 is not base64")),
        ] {
            match (decode(text), expected) {
                (Ok(got), Ok(bytes)) => assert_eq!(got, bytes, "{label}"),
                (Err(error), Err(text)) => assert_eq!(error.to_string(), text, "{label}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn what_is_encoded_can_be_decoded() {
        for (input, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            (&[0xff, 0xfe, 0xfb], "//77"),
        ] {
            assert_eq!(encode(input), expected);
            assert_eq!(decode(expected).unwrap(), input, "{expected}");
        }
    }
}
