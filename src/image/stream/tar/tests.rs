// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tests of the tar reader on archives written here by hand.

use super::*;

/// One header block with a right checksum.
fn header(name: &str, flag: u8, size: u64, link: &str) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000755");
    block[108..115].copy_from_slice(b"0000001");
    block[116..123].copy_from_slice(b"0000002");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000003");
    block[156] = flag;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut block);
    block
}

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    [header(name, b'0', content.len() as u64, ""), padded(content)].concat()
}

fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

fn list(archive: &[u8]) -> Result<Vec<(String, Kind, Vec<u8>)>> {
    let mut tar = TarReader::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        let mut content = Vec::new();
        tar.read_to_end(&mut content)?;
        found.push((String::from_utf8_lossy(&entry.path).into_owned(), entry.kind, content));
    }
    Ok(found)
}

#[test]
fn entries_in_order() {
    let long = "d/".repeat(200);
    let archive = [
        header("dir/", b'5', 0, ""),
        file("dir/a", b"hello"),
        header("dir/b", b'1', 0, "dir/a"),
        header("././@LongLink", b'L', long.len() as u64 + 1, ""),
        padded(format!("{long}\0").as_bytes()),
        header("short", b'2', 0, "target"),
        header("x", b'x', 12, ""),
        padded(b"12 path=a/b\n"),
        file("ignored", b"world"),
        header("fifo", b'6', 0, ""),
        end(),
    ]
    .concat();
    assert_eq!(
        list(&archive).unwrap(),
        [
            ("dir/".to_owned(), Kind::Directory, vec![]),
            ("dir/a".to_owned(), Kind::File, b"hello".to_vec()),
            ("dir/b".to_owned(), Kind::Hardlink, vec![]),
            (long, Kind::Symlink, vec![]),
            ("a/b".to_owned(), Kind::File, b"world".to_vec()),
            ("fifo".to_owned(), Kind::Other(b'6'), vec![]),
        ]
    );
}

#[test]
fn what_carries_no_data_has_none_behind_it() {
    for flag in b'1'..=b'6' {
        let pax = [header("x", b'x', 13, ""), padded(b"13 size=1234\n")].concat();
        let archive = [header("a", flag, 700, "b"), pax, header("b", flag, 0, "b"), file("c", b"c"), end()].concat();
        let mut tar = TarReader::new(&archive[..]);
        let mut next = || tar.next_entry().unwrap().map(|entry| (entry.path, entry.size));
        assert_eq!([next(), next()], [Some((b"a".to_vec(), 0)), Some((b"b".to_vec(), 0))], "{}", char::from(flag));
        assert_eq!((next(), next()), (Some((b"c".to_vec(), 1)), None), "{}", char::from(flag));
    }
    // A type that nobody knows may have content: it is skipped.
    let archive = [header("a", b'Z', 700, ""), vec![1; 1024], file("c", b"c"), end()].concat();
    assert_eq!(list(&archive).unwrap().len(), 2);
}

#[test]
fn unread_content_is_skipped() {
    let archive = [file("a", &[1; 700]), file("b", b"2"), end()].concat();
    let mut tar = TarReader::new(&archive[..]);
    tar.next_entry().unwrap().unwrap();
    assert_eq!(tar.position(), 512);
    let mut one = [0];
    tar.read_exact(&mut one).unwrap();
    assert_eq!(tar.next_entry().unwrap().unwrap().path, b"b");
}

#[test]
fn hostile_archives_end_with_an_error() {
    let mut bad_sum = header("a", b'0', 0, "");
    bad_sum[0] = b'b';
    let mut huge = header("a", b'0', 0, "");
    huge[124..136].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    seal(&mut huge);
    for (label, archive, expected) in [
        ("cut in a header", file("a", b"")[..511].to_vec(), "archive ends inside a header"),
        ("cut in a file", file("a", b"hello")[..514].to_vec(), "archive ends inside a file"),
        ("checksum", bad_sum, "header checksum mismatch"),
        ("huge size", huge, "size 18446744073709551615 is too large"),
        ("long name over the limit", header("a", b'L', MAX_NAME + 1, ""), "over the limit"),
        ("PAX over the limit", header("a", b'x', u64::from(u32::MAX), ""), "over the limit"),
        ("name without an entry", [header("a", b'L', 1, ""), padded(b"x"), end()].concat(), "after an extension"),
        ("sparse", [header("a", b'S', 0, ""), end()].concat(), "sparse files are not supported"),
    ] {
        let error = format!("{:#}", list(&archive).unwrap_err());
        assert!(error.contains(expected), "{label}: {error}");
    }
}
