. "$(dirname "$0")/common.bash"
small net.yaml
try tuen net.yaml
try xyzzy
try policy
try policy shwo p.yaml
try tune
try tune net.yaml other.yaml
try tune net.yaml --sede 3
try tune net.yaml --seed
try tune net.yaml --seed x
try tune net.yaml --seed -1
try tune net.yaml --alpha nan
try tune net.yaml --alpha 0
try tune net.yaml --alpha 0x1p-3
try tune net.yaml --steps 0
try tune net.yaml --steps 0x10
try tune net.yaml --steps ' 5'
try tune net.yaml --max-time -1
try tune net.yaml --color maybe
try tune net.yaml --fresh=yes
try tune net.yaml --target nvidia-h201
try tune net.yaml --backend gpu
try tune net.yaml --backend CUDA
try tune net.yaml --backend cuda
try train net.yaml --backend cuda
try tune net.yaml --device 1
try tune net.yaml --backend cpu --device 1
try tune net.yaml -o ''
try tune net.yaml -o "$(printf 'r%.0s' {1..500})" | sed 's/rrrrr*/r.../'
try eval net.yaml -p all-bf16 -o "$(printf 'r%.0s' {1..500})" | sed 's/rrrrr*/r.../'
try tune net.yaml --backend cpu --target here
try train net.yaml --backend abacus
try eval net.yaml --policy all-bf16 --target here --backend cpu
try observe net.yaml --device x
try tune -x net.yaml
try eval net.yaml
try eval net.yaml --policy all-fp9
try train net.yaml --policy bf16
try train net.yaml --resume
try train net.yaml --save-every 5
try policy diff one.yaml
try doctor now
try formats 1 2
try formats one
try formats 0x10
try formats ''
try frontier runs/none
try report runs/none
try report
ls
