// Random bits: Philox4x64-10, which turns each counter into 256 bits that look random.
//
// The words are those of numpy.random.Philox(key=[key, 0], counter=[0, counter, 0, 0]). Counters are independent, so
// blocks can be computed in parts; NumPy computes one after the other, each with a call of its own.
#pragma once

#include <algorithm>
#include <cstdint>

#include "pool.hpp"

namespace philox {

using Word = std::uint64_t;

struct Block {
    Word words[4];
};

inline Block encrypt(Block counter, Word key0, Word key1) {
    auto &[a, b, c, d] = counter.words;
    for (int round = 0; round < 10; round++) {
        const auto left = static_cast<unsigned __int128>(a) * 0xD2E7470EE14C6C93;
        const auto right = static_cast<unsigned __int128>(c) * 0xCA5A826395121157;
        const Word old_b = b, old_d = d;
        a = static_cast<Word>(right >> 64) ^ old_b ^ key0;
        b = static_cast<Word>(right);
        c = static_cast<Word>(left >> 64) ^ old_d ^ key1;
        d = static_cast<Word>(left);
        key0 += 0x9E3779B97F4A7C15;
        key1 += 0xBB67AE8584CAA73B;
    }
    return counter;
}

// Fill n words, from a block on. The very first block, number 0, has the counter 1, as in NumPy.
inline void fill(Word key, Word counter, Word begin, Word *words, long n) {
    const long blocks = (n + 3) / 4, parts = std::max(1l, std::min(64l, blocks / 2048));
    pool::run(parts, [=](long part) {
        for (long i = part * blocks / parts; i < (part + 1) * blocks / parts; i++) {
            const Block block = encrypt({{begin + static_cast<Word>(i) + 1, counter, 0, 0}}, key, 0);
            std::copy_n(block.words, std::min(4l, n - 4 * i), words + 4 * i);
        }
    });
}

} // namespace philox
