# Draws bench/out/index.csv: lookup latency over the number of keys, and the learned index's
# speed-up over the B-tree. Arguments: gnuplot -e "csv='…'; png='…'" bench/index_plot.gp
if (!exists("csv")) csv = "bench/out/index.csv"
if (!exists("png")) png = "bench/out/rmi_vs_btree.png"
set terminal pngcairo size 1500,620 font "sans,11"
set output png
set datafile separator ","
set multiplot layout 1,2 title "Learned index and B-tree: independent lookups that hit"

# One line per distribution, structure and page size that the file holds.
dists = system("awk -F, 'NR>1 && !s[$1]++ {printf \"%s \", $1}' '" . csv . "'")
pages = system("awk -F, 'NR>1 && !s[$4]++ {printf \"%s \", $4}' '" . csv . "'")
page = words(pages) > 1 ? "huge" : word(pages, 1)
rows(dist, index) = "< awk -F, '$1==\"" . dist . "\" && $3==\"" . index . "\" && $4==\"" . page . \
                    "\"' '" . csv . "' | sort -t, -k2,2n"
ratio(dist) = "< awk -F, '$1==\"" . dist . "\" && $4==\"" . page . "\" {t[$2,$3]=$5; n[$2]=1} END " . \
              "{for (k in n) if ((k,\"rmi\") in t && (k,\"btree\") in t) print k \",\" " . \
              "t[k,\"btree\"]/t[k,\"rmi\"]}' '" . csv . "' | sort -t, -k1,1n"

set logscale x 10
set format x "%.0s%c"
set xlabel "keys"
set grid ytics lc rgb "#dddddd"
set key top left
set title "ns per lookup (" . page . " pages)"
set logscale y 10
set ylabel "ns"
plot for [i=1:words(dists)] rows(word(dists, i), "rmi") using 2:5 with linespoints lw 2 pt 7 \
       lc i title word(dists, i) . " rmi", \
     for [i=1:words(dists)] rows(word(dists, i), "btree") using 2:5 with linespoints lw 1 dt 2 pt 6 \
       lc i title word(dists, i) . " btree"

unset logscale y
set yrange [0:*]
set title "how many times faster than absl::btree\\_map"
set ylabel "B-tree time / learned index time"
plot for [i=1:words(dists)] ratio(word(dists, i)) using 1:2 with linespoints lw 2 pt 7 lc i \
       title word(dists, i)
unset multiplot
