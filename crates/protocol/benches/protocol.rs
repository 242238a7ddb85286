//! The cost of decoding and answering by kind of line, for single lines and batches: `cargo bench -p protocol`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::{Decoded, answer, decode, judge, rejection};

/// A line of each kind, and one with everything that the decoder skips.
const LINES: [(&str, &str); 8] = [
    ("even", "-42\n"),
    ("odd", "1234567891\n"),
    ("large", "12345678901\n"),
    ("largest", "-123456789012345678901234567890\n"),
    ("adorned", "  +0000000000000000000042  \r\n"),
    ("empty", "\n"),
    ("invalid", "12x4\n"),
    ("too_long", "1234567890123456789012345678901\n"),
];

fn reply_to(input: &[u8], output: &mut Vec<u8>) -> usize {
    let Decoded::Request { outcome, consumed } = decode(input) else { return 0 };
    match outcome {
        Ok(number) => output.extend_from_slice(answer(&number)),
        Err(reason) => output.extend_from_slice(rejection(reason)),
    }
    output.push(b'\n');
    consumed
}

fn one_line(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (kind, line) in LINES {
        group.bench_function(kind, |bencher| bencher.iter(|| decode(black_box(line.as_bytes()))));
    }
    group.finish();
    let mut group = criterion.benchmark_group("classify");
    for (kind, line) in LINES {
        let Decoded::Request { outcome: Ok(number), .. } = decode(line.as_bytes()) else { continue };
        group.bench_function(kind, |bencher| bencher.iter(|| black_box(&number).class()));
    }
    group.finish();
    let mut group = criterion.benchmark_group("judge");
    for (kind, line) in LINES {
        let Decoded::Request { outcome: Ok(number), .. } = decode(line.as_bytes()) else { continue };
        let reply = [answer(&number), b"\n"].concat();
        group.bench_function(kind, |bencher| bencher.iter(|| judge(&number, black_box(&reply), false)));
    }
    group.finish();
}

fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    for lines in [1, 16, 256] {
        let input: String = (0..lines).map(|line| LINES[line * 5 % LINES.len()].1).collect();
        let mut output = Vec::with_capacity(64 * 1024);
        group.throughput(Throughput::Elements(lines as u64));
        group.bench_with_input(BenchmarkId::from_parameter(lines), input.as_bytes(), |bencher, input| {
            bencher.iter(|| {
                output.clear();
                let mut done = 0;
                while done < input.len() {
                    done += reply_to(black_box(&input[done..]), &mut output);
                }
                output.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one_line, batch);
criterion_main!(benches);
