// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every damage to a layer is an error that says what was expected and what came.

use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;
use crate::oci::Descriptor;

fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for n in 0..40_u8 {
        let mut header = tar::Header::new_gnu();
        header.set_size(40_000);
        header.set_mode(0o644);
        let content: Vec<u8> = (0..40_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ n).collect();
        builder.append_data(&mut header, format!("usr/{n}"), &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn compress(tar: &[u8], media_type: &str) -> Vec<u8> {
    match media_type.rsplit_once('+') {
        Some((_, "gzip")) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        Some((_, "zstd")) => zstd::encode_all(tar, 1).unwrap(),
        _ => tar.to_vec(),
    }
}

fn layer(tar: &[u8], blob: &[u8], media_type: &str) -> Layer {
    let descriptor =
        Descriptor { media_type: media_type.to_owned(), digest: Digest::of(blob), size: blob.len() as u64 };
    Layer { descriptor, diff_id: Digest::of(tar), number: 1 }
}

/// Entries and bytes of content that were read, if the layer is good.
fn read(blob: &[u8], layer: &Layer) -> Result<(usize, u64)> {
    let windows = LargeWindows::default();
    std::thread::scope(|scope| {
        let mut stream = LayerStream::start(scope, blob, layer, &windows)?;
        let mut count = || {
            let mut entries = 0;
            while stream.tar().next_entry()?.is_some() {
                io::copy(stream.tar(), &mut io::sink())?;
                entries += 1;
            }
            Ok(entries)
        };
        let result = count();
        stream.finish(result)
    })
}

const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

#[test]
fn good_layers() {
    let tar = tar();
    for media_type in [PLAIN, GZIP, ZSTD] {
        let blob = compress(&tar, media_type);
        assert_eq!(read(&blob, &layer(&tar, &blob, media_type)).unwrap(), (40, tar.len() as u64), "{media_type}");
    }
}

#[test]
fn damage_at_every_kind_of_place() {
    let tar = tar();
    for media_type in [PLAIN, GZIP, ZSTD] {
        let blob = compress(&tar, media_type);
        let good = layer(&tar, &blob, media_type);
        let places = [0, 1, 9, 20, blob.len() / 3, blob.len() / 2, blob.len() - 9, blob.len() - 1];
        for place in places {
            let mut flipped = blob.clone();
            flipped[place] ^= 0x10;
            let error = format!("{:#}", read(&flipped, &good).unwrap_err());
            assert!(
                error.contains("mismatch: expected sha256:") || error.contains("at offset"),
                "{media_type}: {error}"
            );
            let error = format!("{:#}", read(&blob[..place], &good).unwrap_err());
            let short = format!("size mismatch: expected {} bytes, got {place}", blob.len());
            assert!(error.contains(&short) || error.contains("at offset"), "{media_type}: {error}");
        }
        let padded = [&blob[..], &[0; 512]].concat();
        let error = format!("{:#}", read(&padded, &good).unwrap_err());
        assert!(error.contains("got more") || error.contains("at offset"), "{media_type}: {error}");
    }
}

#[test]
fn a_wrong_diff_id_is_found() {
    let tar = tar();
    let blob = compress(&tar, GZIP);
    let mut wrong = layer(&tar, &blob, GZIP);
    wrong.diff_id = Digest::of(b"something else");
    let error = read(&blob, &wrong).unwrap_err().to_string();
    let expected = format!("diffID mismatch: expected {}, got {} after", wrong.diff_id, Digest::of(&tar));
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn an_early_end_of_the_reader_ends_the_threads() {
    let tar = tar();
    let blob = compress(&tar, GZIP);
    let good = layer(&tar, &blob, GZIP);
    let windows = LargeWindows::default();
    std::thread::scope(|scope| {
        let mut stream = LayerStream::start(scope, &blob[..], &good, &windows).unwrap();
        stream.tar().next_entry().unwrap();
    });
}

/// A zstd layer with a window of this size; its tar is more than fits into the queues.
fn windowed(window_log: u32) -> (Vec<u8>, Layer) {
    let tar = tar().repeat(2);
    assert!(tar.len() > 2 * BLOCK * QUEUE, "it would be decoded before anybody reads");
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(&tar).unwrap();
    let blob = encoder.finish().unwrap();
    let layer = layer(&tar, &blob, ZSTD);
    (blob, layer)
}

#[test]
fn layers_with_large_windows_take_turns() {
    let (blob, large) = windowed(24);
    let (small_blob, small) = windowed(23);
    let windows = LargeWindows::default();
    std::thread::scope(|scope| {
        let mut first = LayerStream::start(scope, &blob[..], &large, &windows).unwrap();
        assert!(first.tar().next_entry().unwrap().is_some());
        let (sender, receiver) = channel();
        let (second_blob, second_layer, second_windows) = (&blob[..], &large, &windows);
        scope.spawn(move || {
            let mut second = LayerStream::start(scope, second_blob, second_layer, second_windows).unwrap();
            sender.send(second.tar().next_entry().unwrap().is_some()).unwrap();
            second.finish(Ok(())).unwrap();
        });
        // Others do not wait.
        let mut other = LayerStream::start(scope, &small_blob[..], &small, &windows).unwrap();
        assert!(other.tar().next_entry().unwrap().is_some());
        other.finish(Ok(())).unwrap();
        assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err(), "the second did not wait");
        first.finish(Ok(())).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(true), "the second waits for ever");
    });
}

#[test]
fn a_turn_ends_with_a_layer_that_is_given_up() {
    let (blob, large) = windowed(24);
    let windows = LargeWindows::default();
    std::thread::scope(|scope| {
        let mut first = LayerStream::start(scope, &blob[..], &large, &windows).unwrap();
        first.tar().next_entry().unwrap();
        drop(first);
        let cut = &blob[..blob.len() / 2];
        assert!(LayerStream::start(scope, cut, &large, &windows).unwrap().finish(Ok(())).is_err());
        LayerStream::start(scope, &blob[..], &large, &windows).unwrap().finish(Ok(())).unwrap();
    });
}
